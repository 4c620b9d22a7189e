"""Keys in files: made, replaced and read again, in files that nobody else can read; and what people are told."""

import os
import stat
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.keys import KeyFile, NoKeys, Role, key_file, renew
from relight.settings import settings

SECRET = b64encode(b"k" * 32).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "commands.keys"


def relight(*words: str, folder: Path) -> Result:
    return CliRunner().invoke(main, ["keys", *words], env={"RELIGHT_KEYS__FOLDER": str(folder), "RELIGHT_CONFIG": ""})


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_new_key_signs_and_the_older_ones_are_believed_behind_it(path: Path) -> None:
    first, second = renew(path), renew(path)
    keys = KeyFile(path).keys
    assert keys.signing == second
    assert list(keys.secrets) == [second, first]
    assert len({*keys.secrets.values()}) == 2
    assert all(len(secret) == 32 for secret in keys.secrets.values())


def test_nobody_else_may_read_what_was_made(path: Path) -> None:
    for _ in range(2):
        renew(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == [path.name], "nothing is left beside it"


def test_a_group_that_could_read_the_keys_can_read_the_new_ones(path: Path) -> None:
    written(path, f"a {SECRET}\n", 0o640)
    renew(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give files away")
def test_who_has_the_file_has_it_when_another_makes_a_new_key(path: Path) -> None:
    written(path, f"a {SECRET}\n")
    os.chown(path, 1234, 1235)
    renew(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o666, 0o602])
def test_keys_that_others_may_read_or_change_are_not_used(path: Path, mode: int) -> None:
    written(path, f"a {SECRET}\n", mode)
    with pytest.raises(NoKeys, match=f"chmod 600 {path}"):
        KeyFile(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there are no keys in"),
        ("# nothing\n\n", "there are no keys in"),
        ("a", "commands.keys: the key 'a' has 0 bytes; it needs 32 at least"),
        ("a b*d", r"commands.keys:1: write `ID SECRET`"),
        (f"a {SECRET}\nb c", r"commands.keys:2: write `ID SECRET`"),
        (f"# one\n\n{SECRET}\n", "commands.keys:3: an ID has up to 100 letters"),
        (f" a {SECRET}", "commands.keys:1: an ID has"),
        (f"a\tb {SECRET}", "commands.keys:1: an ID has"),
        (f"ä {SECRET}", "commands.keys:1: an ID has"),
        (f"a {SECRET}\na {SECRET}", "commands.keys:2: the ID a is there twice"),
        (f"a {b64encode(b'k' * 31).decode()}", "has 31 bytes; it needs 32"),
        ("\x00\x01", "an ID has"),
    ],
)
def test_what_is_no_file_of_keys_is_refused_with_its_line(path: Path, text: str, reason: str) -> None:
    written(path, text)
    with pytest.raises(NoKeys, match=reason):
        KeyFile(path)


def test_a_file_that_is_no_text_or_not_there_is_refused(path: Path) -> None:
    with pytest.raises(NoKeys, match="`relight keys new` makes them"):
        KeyFile(path)
    written(path, "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(NoKeys, match="cannot be read"):
        KeyFile(path)
    with pytest.raises(NoKeys, match="no key can be written"):
        renew(path)


@pytest.mark.parametrize("text", ["", "\n", "# keys of the planner\n"])
def test_the_first_key_is_made_in_a_file_without_any(path: Path, text: str) -> None:
    written(path, text)
    name = renew(path)
    assert KeyFile(path).keys.signing == name
    assert path.read_text().endswith(text)


def test_keys_are_read_again_when_their_file_has_changed_and_kept_while_it_cannot_be_read(path: Path) -> None:
    first = renew(path)
    file = KeyFile(path)
    second = renew(path)
    assert file.keys.signing == second
    path.write_text("nonsense")
    assert file.keys.signing == second
    path.unlink()
    assert file.keys.signing == second
    written(path, f"{first} {SECRET}\n")
    assert file.keys.signing == first


def at_once(work: Callable[[], object], count: int = 4) -> list[object]:
    found: list[object] = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        found.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_several_who_make_the_first_key_at_once_one_makes_it_for_all(path: Path) -> None:
    own = settings({"keys.folder": str(path.parent)}, None)
    for _ in range(10):
        names = at_once(lambda: key_file(own, Role.COMMANDS).keys.signing)
        assert set(names) == {KeyFile(path).keys.signing}
        assert len(names) == 4
        path.unlink()


def test_of_several_who_make_new_keys_at_once_none_loses_its_key(path: Path) -> None:
    names = at_once(lambda: renew(path))
    assert sorted(map(str, names)) == sorted(KeyFile(path).keys.secrets)
    assert len(names) == 4


def test_with_the_embedded_log_keys_are_made_and_with_kafka_they_have_to_be_there(path: Path) -> None:
    folder = str(path.parent)
    made = key_file(settings({"keys.folder": folder, "embedded.path": str(path)}, None), Role.COMMANDS)
    assert made.keys.signing is not None
    with pytest.raises(NoKeys, match="there are no keys at"):
        key_file(settings({"keys.folder": folder, "kafka.bootstrap": "a:1"}, None), Role.REQUESTS)


def test_the_command_makes_and_lists_keys_and_never_shows_a_secret(tmp_path: Path) -> None:
    done = relight("new", folder=tmp_path)
    assert done.exit_code == 0, done.output
    assert [line.split()[2] for line in done.output.splitlines()] == ["commands:", "outcomes:", "requests:"]
    relight("new", "commands", folder=tmp_path)
    listed = relight("list", folder=tmp_path)
    rows = [line.split(" ", 2) for line in listed.output.splitlines()]
    assert [(role, what) for role, _, what in rows] == [
        ("commands:", "signs"), ("commands:", "is believed"), ("outcomes:", "signs"), ("requests:", "signs"),
    ]  # fmt: skip
    for file in tmp_path.iterdir():
        for line in file.read_text().splitlines():
            assert line.split()[1] not in done.output + listed.output


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    written(tmp_path / "outcomes.keys", "nonsense and more")
    done = relight("new", "outcomes", folder=tmp_path)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert done.output.startswith("relight: ")
    listed = relight("list", folder=tmp_path)
    assert [line.partition(": ")[2][:14] for line in listed.output.splitlines()] == [
        "there are no k",
        f"{tmp_path}/outcomes"[:14],
        "there are no k",
    ]
