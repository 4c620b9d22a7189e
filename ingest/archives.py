"""Opens compressed files and tar archives by what they contain, as streams of bounded memory; writes nothing to disk.

Layers come off whatever the file's name says: gzip, zstd, xz, bzip2, one inside the other too. What lies below and is
no log but known, such as a dump, comes as the lines that show it. All bytes that can be
had are given before a stream says `Unreadable`; of xz and bzip2 up to 1 KiB in front of a corrupt place is lost.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

from ingest import codecs, spool
from ingest.errors import Unreadable
from ingest.renderings.table import rendering_of

if TYPE_CHECKING:
    from ingest.spool import Blocks, PlainFile

_LAYERS: Final = 8
_HEADER_BYTES: Final = 16 << 20


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
    except Unreadable as error:
        raise Unreadable(label, error.reason) from error
    except codecs.DAMAGE as error:
        raise Unreadable(label, f"damaged archive: {error}") from error


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
        raise Unreadable(name, error.strerror or str(error)) from error
    try:
        plain = codecs.codec_of(file.peek(spool.HEAD_BYTES)) is None
    except Unreadable:
        file.close()
        raise
    stream = file if plain else _peeled(spool.Blocks(name, codecs.blocks(file.read), file))
    return _rendered(stream) or stream


def open_member(path: str, member: str) -> Blocks:
    """Open one member of an archive: reads and drops all that comes before it. For many members, see `members`.

    Raises:
        Unreadable: The member cannot be reached.
    """
    whole = open_stream(path, path)
    try:
        for found in walk(whole, path):
            if found.name == member:
                return spool.Blocks(found.stream.label, codecs.blocks(found.stream.read), whole)
    except Unreadable:
        whole.close()
        raise
    whole.close()
    raise Unreadable(f"{path}!/{member}", "no longer in the archive")


def _peeled(stream: Blocks) -> Blocks:
    for _ in range(_LAYERS):
        codec = codecs.codec_of(stream.peek(spool.HEAD_BYTES))
        if codec is None:
            break
        stream = spool.Blocks(stream.label, codec(stream), stream)
    return stream


def _rendered(stream: Blocks | PlainFile) -> spool.Rendered | None:
    """Return the lines that show a stream which is no log but known (see `ingest.renderings`), else `None`."""
    rendering = rendering_of(stream.label, stream.peek(spool.HEAD_BYTES))
    return None if rendering is None else spool.Rendered(stream.label, rendering.render(stream), stream)


def _member(blocks: Iterator[bytes], info: tarfile.TarInfo, name: str, label: str, depth: int) -> Iterator[Member]:
    packed = spool.Blocks(label, blocks)
    stream = _peeled(packed)
    if depth < _LAYERS and is_tar(stream.peek(spool.HEAD_BYTES)):
        try:
            for inner in walk(stream, label, depth + 1):
                yield Member(f"{name}!/{inner.name}", inner.stream, inner.modified_s, inner.size_bytes)
        except Unreadable as error:
            yield Member(name, spool.Blocks(label, _failing(error)), info.mtime, None)
    else:
        shown = _rendered(stream) or stream
        yield Member(name, shown, info.mtime, info.size if shown is packed else None)


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, forward: _Forward) -> Iterator[bytes]:
    sparse = tar.extractfile(info) if info.issparse() else None
    return codecs.blocks(sparse.read) if sparse is not None else forward.content(info.size)


def _name(name: str, seen: dict[str, int]) -> str:
    """Return a member's name without what leads out of the archive; later ones of the same name get a number."""
    name = "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
    seen[name] = seen.get(name, 0) + 1
    return name if seen[name] == 1 else f"{name}#{seen[name]}"


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
        block = self._stream.read(min(size, codecs.READ_BYTES))
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
