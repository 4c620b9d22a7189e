"""Keys that messages are signed with: one file for commands, one for outcomes, one for what people ask for.

A file has a key a line, `ID SECRET` with the secret in base64; the first one signs, all are believed. To replace a key
put a new one first, and take the old one out when nothing signed with it is on its way any more.
"""

import fcntl
import os
import re
import secrets
import stat
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from relight.settings import Settings
from remediate.signing import LEAST_BYTES, Keys


class Role(StrEnum):
    """Who signs: the planner its commands, orchestrators their outcomes, people their requests."""

    COMMANDS = "commands"
    OUTCOMES = "outcomes"
    REQUESTS = "requests"


class NoKeys(Exception):
    """Keys cannot be had. The message says which, why, and what to do."""


_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP


class KeyFile:
    """The keys in a file; they are read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Read the keys. Raises: NoKeys."""
        self.path = path
        self._stamp, self._keys = self._read()

    @property
    def keys(self) -> Keys:
        """Return the keys as they are now; those that were read last, while the file cannot be read."""
        try:
            if _stamp(self.path) != self._stamp:
                self._stamp, self._keys = self._read()
        except (OSError, NoKeys):
            pass
        return self._keys

    def _read(self) -> tuple[tuple[int, int], Keys]:
        try:
            mode = self.path.stat().st_mode
            stamp, text = _stamp(self.path), self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NoKeys(f"there are no keys at {self.path}: `relight keys new` makes them") from None
        except (OSError, UnicodeDecodeError) as error:
            raise NoKeys(f"the keys at {self.path} cannot be read: {error}") from None
        if mode & _OTHERS:
            raise NoKeys(f"others may read {self.path}, or change it: `chmod 600 {self.path}`")
        return stamp, parsed(text, self.path)


def parsed(text: str, path: Path) -> Keys:
    """Return the keys that a file's text holds. Raises: NoKeys."""
    found = _secrets(text, path)
    if not found:
        raise NoKeys(f"there are no keys in {path}: `relight keys new` makes them")
    try:
        return Keys(found, next(iter(found)))
    except ValueError as error:
        raise NoKeys(f"{path}: {error}") from None


def _secrets(text: str, path: Path) -> dict[str, bytes]:
    """Return the secrets that a file's text holds, by their ids, in order; there may be none. Raises: NoKeys."""
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, secret = line.partition(" ")
        if not _ID.fullmatch(name):
            raise NoKeys(f"{path}:{number}: an ID has up to 100 letters, digits, dots, hyphens and underscores")
        if name in found:
            raise NoKeys(f"{path}:{number}: the ID {name} is there twice")
        try:
            found[name] = b64decode(secret.strip(), validate=True)
        except (Error, ValueError):
            raise NoKeys(f"{path}:{number}: write `ID SECRET`, the secret in base64") from None
    return found


def place(settings: Settings, role: Role) -> Path:
    """Return where the keys of a role lie."""
    return settings.keys.folder / f"{role}.keys"


def key_file(settings: Settings, role: Role) -> KeyFile:
    """Return the keys of a role; with the embedded log they are made if they are not there.

    Raises:
        NoKeys: they are not there, or cannot be used.
    """
    path = place(settings, role)
    if not settings.kafka.bootstrap and not path.exists():
        renew(path, only_first=True)
    return KeyFile(path)


def renew(path: Path, *, only_first: bool = False) -> str:
    """Put a new key first into a file, which is made if it is not there, and return its id. Older keys stay behind it.

    Args:
        path: the file.
        only_first: leave it as it is if there are keys already, by now: another process may make the first one.

    Raises:
        NoKeys: the file cannot be written, or what it holds are no keys.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(path.parent):
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            known = _secrets(before, path)
            if known and only_first:
                return next(iter(known))
            name = _fresh(known)
            _write(path, f"{name} {b64encode(secrets.token_bytes(LEAST_BYTES)).decode()}\n{before}")
            return name
    except (OSError, UnicodeDecodeError) as error:
        raise NoKeys(f"no key can be written to {path}: {error}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from writing keys into a folder while a `with` block lasts. Raises: OSError."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, for those who could read it before, or for nobody else."""
    written = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        before = path.stat()
        with suppress(PermissionError):
            os.chown(written, before.st_uid, before.st_gid)
            written.chmod(stat.S_IMODE(before.st_mode) & ~_OTHERS)
    written.replace(path)


def _fresh(taken: Container[str]) -> str:
    """Return an id that is not taken: the day, and something by chance."""
    while True:
        name = f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}"
        if name not in taken:
            return name


def _stamp(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_mtime_ns, told.st_ino
