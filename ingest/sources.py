"""Finds what can be read below the paths that a person names, and says what cannot; reading itself is elsewhere.

IngestError
└── Unreadable    a source's bytes end early: denied, truncated, corrupt. What came before it counts.
"""

import glob
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ingest import archives, rotation, spool
from ingest.errors import Unreadable
from schemas.record import Origin, Source

_ADVICE: Final = (
    ("no such file", "Check the path; a pattern must match something."),
    ("permission denied", "Run relight as a user who may read it."),
    ("empty", "Name the place where the logs are."),
    ("device", "Name a file, a directory, a pipe or -."),
    ("no space", "Set TMPDIR to a directory with room for all of standard input."),
    ("damaged", "Copy it anew; what could be read before the damage is read."),
)
_ADVICE_ELSE: Final = "Check that it can be read, for example with cat."


@dataclass(frozen=True, slots=True)
class Problem:
    """A path that gives nothing, or not all: what is wrong, in one line, and what to do.

    `damaged`: it can be read, but not what it holds.
    """

    path: str
    what: str
    advice: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file in a directory or an archive that is no log, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Input:
    """A source with the way to its bytes. Can be pickled; standard input as long as the process lives that took it.

    `archive` is the path of the tar archive that it is a member of, under the name `member`: to read several members
    of one archive, go through `archives.members(archive)` once. `rendered`: it is no log, and read as the lines that
    show it.
    """

    source: Source
    path: str
    plain: bool = True
    archive: str | None = None
    member: str = ""
    rendered: bool = False

    @property
    def seekable_path(self) -> Path | None:
        """Return the path of a file that is read as it is, `None` for what is compressed or in an archive."""
        return Path(self.path) if self.plain else None

    def open(self) -> "spool.Blocks | spool.PlainFile":
        """Open the decompressed bytes, from the beginning.

        Raises:
            Unreadable: It cannot be opened. Reading raises it too, after all bytes that there are.
        """
        if self.archive is not None:
            return archives.open_member(self.archive, self.member)
        return archives.open_stream(self.path, self.source.name)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: inputs in reading order (the parts of a rotated log together, oldest first), and what was not."""

    inputs: tuple[Input, ...]
    problems: tuple[Problem, ...]
    skipped: tuple[Skipped, ...]


def origin_unknown(path: tuple[str, ...]) -> Origin:
    """Return an origin that tells nothing, whatever the path."""
    return Origin()


def discover(
    paths: Sequence[str],
    origin_of: Callable[[tuple[str, ...]], Origin] = origin_unknown,
    stdin: "spool.Pipe | None" = None,
) -> Discovery:
    """Find the sources below files, directories, globs and `-` (standard input, or `stdin` if given).

    Archives are read once, to list their members. A file that is named is read whatever it contains; in directories
    and archives hidden files are passed over and binary files skipped. Nothing is raised: see `Discovery.problems`.
    """
    finder = _Finder(origin_of, stdin)
    for path in paths:
        finder.take(path)
    return Discovery(_in_order(finder.inputs), tuple(finder.problems), tuple(finder.skipped))


def _in_order(inputs: Sequence[Input]) -> tuple[Input, ...]:
    staged = rotation.streams([found.source.name for found in inputs])
    first: dict[str, int] = {}
    places: list[tuple[int, int, Input]] = []
    for found, (stream, part) in zip(inputs, staged, strict=True):
        first.setdefault(stream, len(first))
        places.append((first[stream], part, replace(found, source=replace(found.source, stream=stream, part=part))))
    return tuple(found for _, _, found in sorted(places, key=lambda place: place[:2]))


@dataclass(slots=True)
class _Finder:
    origin_of: Callable[[tuple[str, ...]], Origin]
    stdin: "spool.Pipe | None"
    inputs: list[Input] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: set[tuple[int, int]] = field(default_factory=set)
    pipes: set[str] = field(default_factory=set)

    def take(self, path: str, pattern: bool = True) -> None:
        """Take a path as a person named it."""
        try:
            if path == "-":
                self._spooled("stdin", ("stdin",), self.stdin or sys.stdin.buffer)
            else:
                self._named(path, os.stat(path))
        except (FileNotFoundError, NotADirectoryError) as error:
            matches = glob.glob(path, recursive=True) if pattern and glob.has_magic(path) else []
            for match in sorted(matches, key=rotation.natural):
                self.take(match, pattern=False)
            if not matches:
                self._problem(path, error.strerror or str(error))
        except (OSError, ValueError) as error:
            self._problem(path, str(getattr(error, "strerror", None) or error))

    def _named(self, path: str, status: os.stat_result) -> None:
        parts = tuple(_shown(part) for part in Path(path).parts if part not in (os.sep, ".", ".."))
        if stat.S_ISDIR(status.st_mode):
            self._directory(path)
        elif stat.S_ISREG(status.st_mode):
            if self._claim(status):
                self._file(path, _shown(path), parts, status, named=True)
        elif stat.S_ISFIFO(status.st_mode):
            if self._claim(status):
                with open(path, "rb", buffering=0) as pipe:
                    self._spooled(_shown(path), parts, pipe)
        else:
            self._problem(path, "A socket or a device")

    def _spooled(self, name: str, parts: tuple[str, ...], pipe: "spool.Pipe") -> None:
        """Take what can be read once. A second time nothing is left of it, so it is passed over."""
        if name not in self.pipes:
            self.pipes.add(name)
            path = spool.spool(pipe)
            self._file(path, name, parts, os.stat(path), named=True)

    def _directory(self, root: str) -> None:
        before = len(self.inputs) + len(self.problems) + len(self.skipped)
        files = sorted(self._walk(root), key=lambda found: found[0].is_symlink())
        fresh = [(entry.path, status) for entry, status in files if self._claim(status)]
        for path, status in sorted(fresh, key=lambda one: [rotation.natural(part) for part in Path(one[0]).parts]):
            parts = tuple(_shown(part) for part in Path(path).relative_to(root).parts)
            self._file(path, _shown(path), parts, status, named=False)
        if not files and before == len(self.inputs) + len(self.problems) + len(self.skipped):
            self._problem(root, "An empty directory")

    def _walk(self, root: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        folders = [root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in (entry for entry in entries if not entry.name.startswith(".")):
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_file():
                            yield entry, entry.stat()
                        else:
                            self.skipped.append(Skipped(_shown(entry.path), _irregular(entry)))
            except OSError as error:
                self._problem(folder, error.strerror or str(error))

    def _claim(self, status: os.stat_result) -> bool:
        """Tell whether a file is reached for the first time, by whatever name."""
        key = (status.st_dev, status.st_ino)
        new = key not in self.files
        self.files.add(key)
        return new

    def _file(self, path: str, name: str, parts: tuple[str, ...], status: os.stat_result, *, named: bool) -> None:
        try:
            with archives.open_stream(path, name) as stream:
                rendered = isinstance(stream, spool.Rendered)
                head = b"" if rendered else stream.peek(spool.HEAD_BYTES) or stream.read(1)
                if archives.is_tar(head):
                    self._archive(stream, path, name, parts)
                elif not named and not rendered and (reason := spool.binary(stream)):
                    self.skipped.append(Skipped(name, reason))
                else:
                    plain = isinstance(stream, spool.PlainFile)
                    source = Source(
                        name, parts, self.origin_of(parts), status.st_mtime, status.st_size if plain else None
                    )
                    self.inputs.append(Input(source, path, plain, rendered=rendered))
        except Unreadable as error:
            self._problem(name, error.reason)

    def _archive(self, stream: "spool.Blocks | spool.PlainFile", path: str, name: str, parts: tuple[str, ...]) -> None:
        empty = True
        for member in archives.walk(stream, name):
            empty = False
            rendered = isinstance(member.stream, spool.Rendered)
            below = tuple(part.removesuffix("!") for part in _shown(member.name).split("/"))
            shown = f"{name}!/{_shown(member.name)}"
            try:
                if any(part.startswith(".") for part in below):
                    continue
                if not rendered and not member.stream.peek(1):
                    member.stream.read(1)
                if not rendered and (reason := spool.binary(member.stream)):
                    self.skipped.append(Skipped(shown, reason))
                    continue
            except Unreadable as error:
                self._problem(shown, error.reason)
                continue
            path_parts = (*parts, *below)
            source = Source(shown, path_parts, self.origin_of(path_parts), member.modified_s, member.size_bytes)
            self.inputs.append(Input(source, path, False, path, member.name, rendered))
        if empty:
            self._problem(name, "An empty archive")

    def _problem(self, path: str, what: str) -> None:
        advice = next((text for key, text in _ADVICE if key in what.lower()), _ADVICE_ELSE)
        self.problems.append(Problem(_shown(path), what, advice))


def _irregular(entry: os.DirEntry[str]) -> str:
    if entry.is_dir():
        return "a link to a directory"
    return "a dead link" if entry.is_symlink() and not os.path.exists(entry.path) else "a socket, a pipe or a device"


def _shown(name: str) -> str:
    """Return a file's name as text, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "replace")
