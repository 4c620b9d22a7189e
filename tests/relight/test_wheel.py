"""The wheel: what is installed from it works anywhere, with the data that it needs, and gives the same bytes."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOG = (
    "".join(
        f"[rank{rank}]: {line}\n"
        for rank in range(8)
        for line in ("Traceback (most recent call last):", "ValueError: the flux capacitor is empty")
    )
    + "NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, name=python, GPU has fallen off the bus.\n"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    own = folder / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(own),
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return own


def run(python: Path, *arguments: str | Path, **environment: str) -> str:
    """Run a program of the environment from / and return what it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(a) for a in arguments], cwd="/", env=kept | environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_installed_package_is_the_one_of_the_wheel(python: Path) -> None:
    where = run(python, python, "-c", "import relight, diagnose; print(relight.__file__, diagnose.__file__)")
    assert where.count(str(python.parents[1])) == 2


def test_the_wheel_holds_the_catalogue_the_templates_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    data = [p for folder in ("schemas", "diagnose", "relight") for p in (ROOT / folder).rglob("*") if p.is_file()]
    shipped = {str(p.relative_to(ROOT)) for p in data if "__pycache__" not in p.parts}
    assert shipped <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docker/"))]


def test_the_installed_command_lists_its_rules(python: Path) -> None:
    last = run(python, python.parent / "relight", "rules", "list").splitlines()[-1]
    assert int(last.split()[0]) >= 150


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "job.log"
    path.write_text(LOG)
    return path


def test_the_installed_command_scans_a_log(python: Path, log: Path, tmp_path: Path) -> None:
    report = run(python, python.parent / "relight", "scan", log, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert "fallen off the bus" in report


def test_the_same_log_gives_the_same_bytes_whatever_the_order_of_sets(python: Path, log: Path) -> None:
    one, two = (run(python, python.parent / "relight", "scan", log, "-f", "json", PYTHONHASHSEED=seed) for seed in "12")
    assert one == two
    assert '"gpu.fallen_off_bus"' in one
