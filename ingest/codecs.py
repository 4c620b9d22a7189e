"""Decompresses gzip, zstd, xz and bzip2 as streams of bounded memory, and says where their data is damaged."""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import zstandard

if TYPE_CHECKING:
    from ingest.spool import Blocks

READ_BYTES: Final = 64 * 1024
_INFLATE_BYTES: Final = 256 * 1024
_SMALL_BYTES: Final = 1024
_XZ_MEMORY_BYTES: Final = 1 << 30
DAMAGE: Final = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, tarfile.TarError)
"""What decompressors and `tarfile` raise where data is damaged."""


def blocks(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """Yield what a read function gives, block by block."""
    while block := read(READ_BYTES):
        yield block


def codec_of(head: bytes) -> Callable[[Blocks], Iterator[bytes]] | None:
    """Return what decompresses a stream that begins like this, `None` where it is not compressed."""
    if head.startswith(b"\x1f\x8b\x08"):
        return _gunzip
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return _unzstd
    if head.startswith(b"\xfd7zXZ\0"):
        return _unxz
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return _bunzip2
    return None


def _next_member(block: bytes) -> bytes:
    """Return what follows the padding between two members of a compressed file."""
    return block.lstrip(b"\0")


def _gunzip(stream: Blocks) -> Iterator[bytes]:
    decoder = zlib.decompressobj(31)
    for block in blocks(stream.read):
        rest = block
        while rest:
            if decoder.eof and (rest := _next_member(rest)):
                decoder = zlib.decompressobj(31)
            if rest:
                yield from _inflate(decoder, rest)
                rest = decoder.unused_data
    if not decoder.eof:
        raise EOFError("it ends in the middle")


def _inflate(decoder: zlib._Decompress, block: bytes) -> Iterator[bytes]:
    while True:
        spare = decoder.copy()
        try:
            out = decoder.decompress(block, _INFLATE_BYTES)
        except zlib.error:
            yield from _salvaged(spare, block)
            raise
        yield out
        block = decoder.unconsumed_tail
        if decoder.eof or (not block and len(out) < _INFLATE_BYTES):
            return


def _salvaged(decoder: zlib._Decompress, block: bytes) -> Iterator[bytes]:
    """Yield what comes before the corrupt place in a block: zlib gives nothing of a call that fails."""
    for at in range(len(block)):
        try:
            yield decoder.decompress(block[at : at + 1])
        except zlib.error:
            return


def _unxz(stream: Blocks) -> Iterator[bytes]:
    return _restarting(stream, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES))


def _bunzip2(stream: Blocks) -> Iterator[bytes]:
    return _restarting(stream, bz2.BZ2Decompressor)


def _restarting(stream: Blocks, new: Callable[[], Any]) -> Iterator[bytes]:
    decoder = new()
    for block in blocks(stream.read):
        rest = block
        while rest:
            if decoder.eof and (rest := _next_member(rest)):
                decoder = new()
            if rest:
                yield decoder.decompress(rest, _SMALL_BYTES)
                while not (decoder.eof or decoder.needs_input):
                    yield decoder.decompress(b"", _SMALL_BYTES)
                rest = decoder.unused_data if decoder.eof else b""
    if not decoder.eof:
        raise EOFError("it ends in the middle")


def _unzstd(stream: Blocks) -> Iterator[bytes]:
    """Decompress block by block (RFC 8878, 3.1.1): memory stays bounded, and a missing end is seen."""
    while magic := stream.read(1):
        magic += _exactly(stream, 3)
        if magic == b"\x28\xb5\x2f\xfd":
            yield from _zstd_frame(stream, magic)
        elif magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5:
            left = int.from_bytes(_exactly(stream, 4), "little")
            while left:
                left -= len(_exactly(stream, min(left, READ_BYTES)))
        else:
            raise ValueError("what follows is no zstd frame")


def _zstd_frame(stream: Blocks, magic: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor().decompressobj()
    flags = _exactly(stream, 1)
    single = flags[0] >> 5 & 1
    size = (1 - single) + (0, 1, 2, 4)[flags[0] & 3] + (single, 2, 4, 8)[flags[0] >> 6]
    yield decoder.decompress(magic + flags + _exactly(stream, size))
    last = False
    while not last:
        header = _exactly(stream, 3)
        bits = int.from_bytes(header, "little")
        last = bool(bits & 1)
        payload = _exactly(stream, 1 if bits >> 1 & 3 == 1 else bits >> 3)
        yield decoder.decompress(header + payload)
    if flags[0] >> 2 & 1:
        yield decoder.decompress(_exactly(stream, 4))


def _exactly(stream: Blocks, size: int) -> bytes:
    parts = []
    while size and (block := stream.read(size)):
        parts.append(block)
        size -= len(block)
    if size:
        raise EOFError("it ends in the middle")
    return b"".join(parts)
