"""The cache on disk: the parsed catalogue and the compiled automaton. Never trusted, always rebuilt when in doubt.

A file is used only if this user owns it and its folder, nobody else can write there, and its digest is right.
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_MAGIC: Final = b"relight cache 1\n"
_KEEP: Final = 8


def folder() -> Path | None:
    """Return the folder of the cache: `$XDG_CACHE_HOME/relight`, or `~/.cache/relight`; `None` where there is none."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "relight"
    except RuntimeError:
        return None  # a user without a home, as in a container with a random user id


def read(kind: str, key: str) -> bytes | None:
    """Return what was kept under a key, or `None` where nothing is or what is there cannot be trusted."""
    path = _path(kind, key)
    if path is None:
        return None
    try:
        if not (_private(path.parent) and _private(path)):
            return None
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    return payload if content.startswith(_MAGIC) and digest == _digest(key, payload) else None


def write(kind: str, key: str, payload: bytes) -> None:
    """Keep a payload under a key. A cache that cannot be written costs time, never a scan."""
    path = _path(kind, key)
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as new:
            fresh = Path(new) / path.name
            fresh.write_bytes(_MAGIC + _digest(key, payload) + payload)
            fresh.chmod(0o600)
            os.replace(fresh, path)
        _forget_old(path.parent, kind)


def _path(kind: str, key: str) -> Path | None:
    where = folder()
    return where / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:40]}" if where else None


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + payload).digest()


def _private(path: Path) -> bool:
    about = path.stat()
    return about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _forget_old(where: Path, kind: str) -> None:
    kept = sorted(where.glob(f"{kind}-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in kept[_KEEP:]:
        path.unlink(missing_ok=True)
