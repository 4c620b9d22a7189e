"""The jars of a server: fetched once by Maven, kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


class NoJars(Exception):
    """The jars cannot be had here. The message says what is missing."""


def jars(pom: Path) -> Path:
    """Return the folder with a project's jars; Maven fetches them where they are not there yet.

    Raises:
        NoJars: Java or Maven is missing, or Maven failed.
    """
    for program in ("java", "mvn"):
        if not shutil.which(program):
            raise NoJars(f"no `{program}` on the PATH (Debian: openjdk-17-jre-headless, maven)")
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    folder = _cache() / f"{pom.parent.name}-{digest}"
    if not folder.is_dir():
        _fetch(pom, folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relight-tests"


def _fetch(pom: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as new:
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={new}/jars"]
        done = subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoJars(f"Maven could not fetch the jars of {pom.name}:\n{(done.stdout + done.stderr)[-2000:]}")
        if not folder.is_dir():  # another run of the tests may have been faster
            os.replace(f"{new}/jars", folder)
