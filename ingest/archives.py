"""Opens compressed files and tar archives by what they contain, as streams of bounded memory; writes nothing to disk.

Layers come off whatever the file's name says: gzip, zstd, xz, bzip2, one inside the other too. All bytes that can be
had are given before a stream says `Unreadable`; of xz and bzip2 up to 1 KiB in front of a corrupt place is lost.
"""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

import zstandard

from ingest import sources, spool

if TYPE_CHECKING:
    from ingest.spool import Blocks, PlainFile

HEAD_BYTES: Final = 8 * 1024
"""How much of a stream tells what it contains."""

_READ_BYTES: Final = 64 * 1024
_INFLATE_BYTES: Final = 256 * 1024
_SMALL_BYTES: Final = 1024
_LAYERS: Final = 8
_XZ_MEMORY_BYTES: Final = 1 << 30
_HEADER_BYTES: Final = 16 << 20
DAMAGE: Final = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, tarfile.TarError)
"""What decompressors and `tarfile` raise where data is damaged."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive. `stream` can be read until the next member is asked for.

    `size_bytes` is `None` where the member is compressed itself. A damaged archive in the archive is a member whose
    `stream` says so.
    """

    name: str
    stream: Blocks
    modified_s: float
    size_bytes: int | None


def members(path: str) -> Iterator[tuple[str, Blocks]]:
    """Yield name and decompressed bytes of each regular file in a tar archive, in one pass.

    The name is what `Input.member` holds. To read many members, take the inputs with one `Input.archive` together:

        wanted = {input.member: input for input in inputs_of_one_archive}
        for name, stream in members(archive):
            if name in wanted:
                read(wanted[name].source, stream)  # now: the next step of the loop passes over what is left of it

    Raises:
        Unreadable: The archive is damaged here; what came before has been yielded.
    """
    with open_stream(path, path) as stream:
        for member in walk(stream, path):
            yield member.name, member.stream


def walk(stream: Blocks | PlainFile, label: str, depth: int = 0) -> Iterator[Member]:
    """Yield the regular files of a tar archive, those of archives inside too; `label` is its name in messages.

    Raises:
        Unreadable: The archive is damaged here.
    """
    forward = _Forward(stream)
    seen: dict[str, int] = {}
    try:
        tar = tarfile.TarFile(fileobj=cast(Any, forward), tarinfo=_Header, errors="surrogateescape")
        while (info := tar.next()) is not None:
            cast(Any, tar).members = []  # else it keeps them all
            if info.isreg():
                name = _name(info.name, seen)
                yield from _member(_content(tar, info, forward), info, name, f"{label}!/{name}", depth)
    except sources.Unreadable as error:
        raise sources.Unreadable(label, error.reason) from error
    except DAMAGE as error:
        raise sources.Unreadable(label, f"damaged archive: {error}") from error


def is_tar(head: bytes) -> bool:
    """Tell whether bytes begin with the header of a tar archive: its checksum holds."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def open_stream(path: str, name: str) -> Blocks | PlainFile:
    """Open a file and take off its layers of compression. `name` is what `Unreadable` calls it.

    Raises:
        Unreadable: The file cannot be opened.
    """
    try:
        file = spool.PlainFile(path, name)
    except OSError as error:
        raise sources.Unreadable(name, error.strerror or str(error)) from error
    try:
        plain = _codec(file.peek(HEAD_BYTES)) is None
    except sources.Unreadable:
        file.close()
        raise
    return file if plain else _peeled(spool.Blocks(name, _blocks(file.read), file))


def open_member(path: str, member: str) -> Blocks:
    """Open one member of an archive: reads and drops all that comes before it. For many members, see `members`.

    Raises:
        Unreadable: The member cannot be reached.
    """
    whole = open_stream(path, path)
    try:
        for found in walk(whole, path):
            if found.name == member:
                return spool.Blocks(found.stream.label, _blocks(found.stream.read), whole)
    except sources.Unreadable:
        whole.close()
        raise
    whole.close()
    raise sources.Unreadable(f"{path}!/{member}", "no longer in the archive")


def _peeled(stream: Blocks) -> Blocks:
    for _ in range(_LAYERS):
        codec = _codec(stream.peek(HEAD_BYTES))
        if codec is None:
            break
        stream = spool.Blocks(stream.label, codec(stream), stream)
    return stream


def _member(blocks: Iterator[bytes], info: tarfile.TarInfo, name: str, label: str, depth: int) -> Iterator[Member]:
    packed = spool.Blocks(label, blocks)
    stream = _peeled(packed)
    if depth < _LAYERS and is_tar(stream.peek(HEAD_BYTES)):
        try:
            for inner in walk(stream, label, depth + 1):
                yield Member(f"{name}!/{inner.name}", inner.stream, inner.modified_s, inner.size_bytes)
        except sources.Unreadable as error:
            yield Member(name, spool.Blocks(label, _failing(error)), info.mtime, None)
    else:
        yield Member(name, stream, info.mtime, info.size if stream is packed else None)


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, forward: _Forward) -> Iterator[bytes]:
    sparse = tar.extractfile(info) if info.issparse() else None
    return _blocks(sparse.read) if sparse is not None else forward.content(info.size)


def _name(name: str, seen: dict[str, int]) -> str:
    """Return a member's name without what leads out of the archive; later ones of the same name get a number."""
    name = "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
    seen[name] = seen.get(name, 0) + 1
    return name if seen[name] == 1 else f"{name}#{seen[name]}"


def _blocks(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    while block := read(_READ_BYTES):
        yield block


def _failing(error: Exception) -> Iterator[bytes]:
    yield b""
    raise error


class _Forward:
    """What `tarfile` needs of a file, on a stream that cannot go back."""

    def __init__(self, stream: Blocks | PlainFile) -> None:
        self._stream = stream
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> None:
        while self._at < offset and self._some(offset - self._at):
            pass

    def read(self, size: int) -> bytes:
        if size > _HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        parts, end = [], self._at + size
        while self._at < end and (block := self._some(end - self._at)):
            parts.append(block)
        return b"".join(parts)

    def content(self, size: int) -> Iterator[bytes]:
        end = self._at + size
        while self._at < end:
            if not (block := self._some(end - self._at)):
                raise EOFError("the archive ends in the middle of this member")
            yield block

    def _some(self, size: int) -> bytes:
        block = self._stream.read(min(size, _READ_BYTES))
        self._at += len(block)
        return block


class _Header(tarfile.TarInfo):
    """A header that is not taken for the archive's end when it is damaged, as `tarfile` does."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise EOFError(str(error)) from error


def _codec(head: bytes) -> Callable[[Blocks], Iterator[bytes]] | None:
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
    for block in _blocks(stream.read):
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
    for block in _blocks(stream.read):
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
                left -= len(_exactly(stream, min(left, _READ_BYTES)))
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
