"""The cache on disk: what is kept comes back, what cannot be trusted is made anew, and a scan needs none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from diagnose.matching import database
from relight import cache
from relight.catalogue import _key, automaton, catalogue, rule_files
from relight.cli import main

LOG = "2026-11-24 03:12:01 INFO starting\nValueError: the flux capacitor is empty\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "relight"


def kept(home: Path) -> Path:
    """Keep something, and return its file."""
    cache.write("kind", "key", b"payload")
    (path,) = home.glob("kind-*")
    return path


def test_what_is_kept_comes_back_under_its_kind_and_key_alone(home: Path) -> None:
    assert cache.read("kind", "key") is None
    kept(home)
    assert cache.read("kind", "key") == b"payload"
    assert cache.read("kind", "other") is None
    assert cache.read("other", "key") is None


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_file_with_one_wrong_bit_is_not_trusted(home: Path, at: int, bit: int) -> None:
    path = kept(home)
    damaged = bytearray(path.read_bytes())
    damaged[at % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    assert cache.read("kind", "key") is None


@given(length=st.integers(0, 10_000))
def test_a_file_that_is_cut_short_is_not_trusted(home: Path, length: int) -> None:
    path = kept(home)
    content = path.read_bytes()
    path.write_bytes(content[: length % len(content)])
    assert cache.read("kind", "key") is None


def test_a_file_of_another_key_that_was_put_in_its_place_is_not_trusted(home: Path) -> None:
    path = kept(home)
    cache.write("kind", "other", b"forged")
    (other,) = set(home.glob("kind-*")) - {path}
    other.replace(path)
    assert cache.read("kind", "key") is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_trusted(home: Path, mode: int) -> None:
    kept(home).chmod(mode)
    assert cache.read("kind", "key") is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_is_not_trusted(home: Path, mode: int) -> None:
    kept(home)
    home.chmod(mode)
    assert cache.read("kind", "key") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("folder", [True, False])
def test_what_belongs_to_another_user_is_not_trusted(home: Path, folder: bool) -> None:
    path = kept(home)
    os.chown(home if folder else path, 54321, 54321)
    assert cache.read("kind", "key") is None


def test_nobody_else_may_write_what_is_kept(home: Path) -> None:
    path = kept(home)
    assert not (path.stat().st_mode | home.stat().st_mode) & 0o022


def test_only_the_newest_few_of_a_kind_are_kept(home: Path) -> None:
    for n in range(20):
        cache.write("kind", str(n), b"payload")
    cache.write("other", "key", b"payload")
    assert len(list(home.glob("kind-*"))) == 8
    assert cache.read("kind", "19") == b"payload"
    assert cache.read("other", "key") == b"payload"


def test_a_relative_cache_home_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache.folder() == Path.home() / ".cache" / "relight"


@pytest.mark.parametrize("kind", ["catalogue", "automaton"])
@pytest.mark.parametrize("damage", [b"", b"relight cache 0\n" + bytes(64), bytes(999)], ids=["empty", "old", "zeros"])
def test_a_damaged_file_is_made_anew(home: Path, kind: str, damage: bytes) -> None:
    known = catalogue()
    order, _ = automaton(known)
    (path,) = home.glob(f"{kind}-*")
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert catalogue() == known
    assert automaton(known)[0] == order
    assert path.read_bytes() == whole


def test_an_automaton_of_another_cpu_or_version_is_made_anew(home: Path) -> None:
    known = catalogue()
    order, made = automaton(known)
    payload = database.dumped(order, made)
    end = 8 + int.from_bytes(payload[:8])
    cache.write("automaton", database.key(known), payload[:end] + b"\xff" * 999)
    again, found = automaton(known)
    assert again == order
    hits: list[int] = []
    found.scan(
        b"NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.\n",
        match_event_handler=lambda n, *_: hits.append(n),
    )
    assert hits


def test_an_automaton_from_the_cache_finds_what_the_compiled_one_finds(home: Path) -> None:
    known = catalogue()
    lines = "\n".join(s.match[0] for s in known.signatures).encode()

    def found() -> list[tuple[int, int]]:
        hits: list[tuple[int, int]] = []
        automaton(known)[1].scan(lines, match_event_handler=lambda n, _, end, *__: hits.append((n, end)))
        return sorted(hits)

    compiled = found()
    assert list(home.glob("automaton-*"))
    assert compiled == found()
    assert len(compiled) > len(known.signatures) / 2


@pytest.mark.parametrize("where", ["/proc/none", "file"])
def test_a_cache_that_cannot_be_written_costs_time_and_no_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "file").write_text("this is no folder")
    (tmp_path / "job.log").write_text(LOG)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / where))
    result = CliRunner().invoke(main, ["scan", str(tmp_path / "job.log")], catch_exceptions=False)
    assert result.exit_code == 0
    assert "flux capacitor" in result.stdout


def test_a_kept_catalogue_that_is_no_longer_valid_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = catalogue()
    cache.write("catalogue", _key(rule_files(())), b'[{"id":"x"}]')
    assert catalogue() == known


def test_a_kept_automaton_of_another_form_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = catalogue()
    cache.write("automaton", database.key(known), b"another form")
    assert automaton(known)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without a name")
def test_a_user_without_a_home_has_no_cache_but_a_scan() -> None:
    program = (
        "import os; from relight import cache; os.environ.pop('HOME', 0); os.environ.pop('XDG_CACHE_HOME', 0);"
        "os.setuid(54321); assert cache.read('kind', 'key') is None; cache.write('kind', 'key', b'')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd="/tmp")
