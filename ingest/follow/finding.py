"""Finds the files to follow: those named, those in directories, and the rotated ones beside a named one."""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ingest import rotation


class Found(NamedTuple):
    """A file, once for each inode: under its own name if it has one among what is followed, else under a link's.

    `root` is the directory that it was found below, empty where it was named. `size` is in bytes.
    """

    path: str
    root: str
    device: int
    inode: int
    size: int
    changed_ns: int

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the path's components that tell of host, rank and job: those below the directory that was named."""
        return Path(self.path).relative_to(self.root or "/").parts


@dataclass(slots=True)
class Finder:
    """Looks again and again. `problems` are those of the last look: why a path, or a part of it, was not found."""

    paths: Sequence[str]
    problems: dict[str, str] = field(default_factory=dict)
    _found: dict[tuple[int, int], Found] = field(default_factory=dict)
    _beside: dict[str, tuple[set[str], list[str], list[str]]] = field(default_factory=dict)

    def find(self) -> list[Found]:
        """Return the regular files that are there now, hidden ones passed over unless they were named."""
        self.problems = {}
        self._found = {}
        named: list[str] = []
        for path in map(os.path.abspath, self.paths):
            if glob.has_magic(path) and not os.path.exists(path):
                self._all(sorted(glob.glob(path, recursive=True), key=rotation.natural), path, named)
            else:
                self._all([path], path, named)
        for path in self._rotated(named):
            self._take(path, "", asked=False)
        return list(self._found.values())

    def _all(self, paths: Sequence[str], asked: str, named: list[str]) -> None:
        if not paths:
            self.problems[asked] = "No such file or directory"
        for path in paths:
            if os.path.isdir(path):
                self._directory(path)
            else:
                self._take(path, "")
                named.append(path)

    def _take(self, path: str, root: str, *, asked: bool = True) -> None:
        try:
            status = os.stat(path)
        except OSError as error:
            if asked or not isinstance(error, FileNotFoundError):
                self.problems[path] = error.strerror or str(error)
            return
        if not stat.S_ISREG(status.st_mode):
            self.problems[path] = "A socket, a pipe or a device"
            return
        self._claim(path, root, status)

    def _directory(self, root: str) -> None:
        links = []
        for entry in self._entries(root):
            if entry.is_symlink():
                links.append(entry.path)
            else:
                try:
                    self._claim(entry.path, root, entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue  # deleted since the directory was listed
        for path in links:
            if os.path.isfile(path):
                self._take(path, root, asked=False)

    def _entries(self, root: str) -> Iterator[os.DirEntry[str]]:
        folders = [root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_symlink() or entry.is_file():
                            yield entry
            except OSError as error:
                self.problems[folder] = error.strerror or str(error)

    def _claim(self, path: str, root: str, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        if key not in self._found:
            self._found[key] = Found(path, root, *key, status.st_size, status.st_mtime_ns)

    def _rotated(self, named: Sequence[str]) -> list[str]:
        """Return the paths of the older parts of named logs. What a directory's names tell is told once."""
        folders: dict[str, set[str]] = {}
        for path in named:
            folders.setdefault(os.path.dirname(path), set()).add(path)
        found = []
        for folder, wanted in folders.items():
            try:
                names = os.listdir(folder)
            except OSError:
                continue  # said of the path itself
            known = self._beside.get(folder)
            if known is None or known[0] != wanted or known[1] != names:
                known = self._beside[folder] = (wanted, names, _beside(folder, names, wanted))
            found += known[2]
        return found


def _beside(folder: str, names: Sequence[str], wanted: set[str]) -> list[str]:
    paths = [os.path.join(folder, name) for name in names if not name.startswith(".")]
    paths += sorted(wanted - set(paths))
    return [
        path
        for path, (stream, _) in zip(paths, rotation.streams(paths), strict=True)
        if stream in wanted and path not in wanted
    ]
