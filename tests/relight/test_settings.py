"""Settings: what wins, where each value comes from, and what is said about mistakes."""

import json
import os
from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import ValidationError

from relight.commands.operate import config, settings_table
from relight.commands.options import LEVELS, with_settings
from relight.settings import Misconfigured, Resolved, Setting, origins, resolve, settings
from relight.settings.models import Log


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home of our own, and an environment without settings."""
    for name in list(os.environ):
        if name.startswith(("RELIGHT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def origin(key: str, flags: dict[str, object] | None = None) -> Setting:
    return next(setting for setting in origins(flags) if setting.key == key)


def wrong(config: Path | None = None, flags: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        settings(flags, config)
    return str(caught.value).splitlines()


def config_show(*arguments: str) -> Result:
    return CliRunner().invoke(config, ["show", *arguments], catch_exceptions=False)


# What wins


def test_without_anything_all_settings_have_defaults(home: Path) -> None:
    found = settings()
    assert found.kafka.bootstrap == ()
    assert found.embedded.path == home / ".local/state/relight/relight.db"
    assert (found.topics.log_partitions, found.topics.trusted) == (6, ("relight.logs",))
    assert {setting.origin for setting in origins()} == {"default"}


def test_a_flag_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(Path("relight.toml"), "[cluster]\nname = 'file'\n[topics]\nlog_partitions = 12\n").absolute()
    assert origin("cluster.name") == Setting("cluster.name", "file", str(path))
    monkeypatch.setenv("RELIGHT_CLUSTER__NAME", "environment")
    assert origin("cluster.name") == Setting("cluster.name", "environment", "environment RELIGHT_CLUSTER__NAME")
    by_flag = origin("cluster.name", {"cluster.name": "flag"})
    assert by_flag == Setting("cluster.name", "flag", "flag --cluster")
    assert origin("topics.log_partitions") == Setting("topics.log_partitions", 12, str(path))


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert origin("cluster.name", {"cluster.name": None}).origin == "default"
    assert origin("kafka.bootstrap", {"kafka.bootstrap": ()}).origin == "default"


def test_the_nearest_file_is_read_and_no_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = write(home / ".config/relight/relight.toml", "[cluster]\nname = 'user'\n")
    assert resolve().file == users
    elsewhere = write(home / "xdg/relight/relight.toml", "[cluster]\nname = 'xdg'\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert resolve().file == elsewhere
    here = write(Path("relight.toml"), "[topics]\nlog_partitions = 2\n")
    assert resolve().file == here.absolute()
    assert settings().cluster.name == "default"
    named = write(home / "named.toml", "[cluster]\nname = 'named'\n")
    monkeypatch.setenv("RELIGHT_CONFIG", str(named))
    assert resolve().file == named
    assert settings(config=users).cluster.name == "user"


def test_a_list_in_the_environment_has_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_KAFKA__BOOTSTRAP", "a:9092, b:9092")
    monkeypatch.setenv("RELIGHT_MATCH__RULES", "/etc/rules,~/rules")
    found = settings()
    assert found.kafka.bootstrap == ("a:9092", "b:9092")
    assert found.match.rules == (Path("/etc/rules"), Path.home() / "rules")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_SHIP__JOB", "")
    assert origin("ship.job") == Setting("ship.job", None, "default")


def test_the_state_folder_follows_the_desktop_standard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert settings().embedded.path == tmp_path / "state/relight/relight.db"


def test_who_names_an_embedded_log_does_not_mean_the_brokers_of_the_file() -> None:
    write(Path("relight.toml"), "[kafka]\nbootstrap = ['a:9092']\n")
    flags: dict[str, object] = {"embedded.path": "/tmp/relight.db"}
    assert origin("kafka.bootstrap", flags) == Setting("kafka.bootstrap", (), "flag --embedded")


def test_settings_are_frozen() -> None:
    found = settings()
    with pytest.raises(ValidationError, match="frozen"):
        found.cluster.name = "other"


def test_the_variables_of_tests_and_the_files_name_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RELIGHT_HYPOTHESIS", "RELIGHT_TEST_KAFKA", "RELIGHT_REQUIRE_SERVERS"):
        monkeypatch.setenv(name, "1")
    assert settings().cluster.name == "default"


# Mistakes


def test_an_unknown_key_is_named_with_its_file_and_the_nearest_one() -> None:
    path = write(
        Path("relight.toml"), "[kafka]\nbootstrp = 'a'\n[topcis]\nx = 1\n[metrics]\nzzz = 1\n[ship]\nca_file = 'a'\n"
    ).absolute()
    assert wrong() == [
        f"{path}: there is no setting kafka.bootstrp; did you mean kafka.bootstrap?",
        f"{path}: there is no section [topcis]; did you mean [topics]?",
        f"{path}: there is no setting metrics.zzz; `relight config show` lists all there are",
        f"{path}: there is no setting ship.ca_file; did you mean kafka.ca_file?",
    ]


def test_a_key_outside_of_sections_and_a_section_that_is_none_are_named() -> None:
    path = write(Path("relight.toml"), "bootstrap = 'a'\nkafka = 'a'\n").absolute()
    assert wrong() == [
        f"{path}: kafka is a section: write `[kafka]`",
        f"{path}: there is no setting bootstrap; `relight config show` lists all there are",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RELIGHT_KAFKA__BOOTSTRP", "RELIGHT_KAFKA__BOOTSTRAP"),
        ("RELIGHT_KAFKA_BOOTSTRAP", "RELIGHT_KAFKA__BOOTSTRAP"),
        ("RELIGHT_TOPIC__TRUSTED", "RELIGHT_TOPICS__TRUSTED"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "a")
    assert wrong() == [f"environment {name}: there is no such setting; did you mean {meant}?"]


def test_values_of_the_wrong_kind_get_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[kafka]\nbootstrap = 5\n[topics]\nlog_partitions = 'many'\n[ship]\njournal = 'maybe'\n"
    path = write(Path("relight.toml"), text).absolute()
    monkeypatch.setenv("RELIGHT_METRICS__PORT", "99999")
    assert wrong(flags={"cluster.name": ""}) == [
        "flag --cluster: cluster.name should have at least 1 character, not ''",
        f"{path}: kafka.bootstrap should be a list, not 5",
        f"{path}: topics.log_partitions should be a valid integer, not 'many'",
        f"{path}: ship.journal should be a valid boolean or 'auto', not 'maybe'",
        "environment RELIGHT_METRICS__PORT: metrics.port should be less than or equal to 65535, not '99999'",
    ]


def test_a_wrong_password_is_not_repeated() -> None:
    path = write(Path("relight.toml"), "[kafka]\npassword = 4711\n").absolute()
    assert wrong() == [f"{path}: kafka.password should be a valid string"]


def test_settings_that_contradict_each_other_are_told_with_where_they_are_from(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(Path("relight.toml"), "[kafka]\nbootstrap = 'a:9092'\nsecurity_protocol = 'SASL_SSL'\n").absolute()
    monkeypatch.setenv("RELIGHT_KAFKA__PASSWORD", "hunter2")
    (line,) = wrong()
    assert line.startswith(f"{path}, environment RELIGHT_KAFKA__PASSWORD: [kafka] SASL_SSL needs sasl_mechanism")
    assert "hunter2" not in line
    assert settings({"embedded.path": "/tmp/relight.db"}).kafka.security_protocol == "SASL_SSL"


def test_a_file_that_is_no_toml_is_named_with_the_line() -> None:
    path = write(Path("relight.toml"), "[kafka\n").absolute()
    (line,) = wrong()
    assert line.startswith(f"{path}: this is not TOML: ")
    assert "line 1" in line


def test_a_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    assert wrong(tmp_path / "none.toml") == [f"{tmp_path}/none.toml: no such file or directory"]
    assert wrong(tmp_path) == [f"{tmp_path}: is a directory"]


# The command line


def test_the_command_shows_every_setting_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_KAFKA__BOOTSTRAP", "a:9092,b:9092")
    result = config_show("--metrics-port", "9108")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["kafka.bootstrap", "a:9092, b:9092", "environment RELIGHT_KAFKA__BOOTSTRAP"] in rows
    assert ["metrics.port", "9108", "flag --metrics-port"] in rows
    assert ["ship.job", "", "default"] in rows
    assert len(rows) == len(origins())


@pytest.mark.parametrize("form", ["table", "json"])
def test_the_command_never_shows_a_password(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("RELIGHT_KAFKA__PASSWORD", "hunter2")
    result = config_show("--format", form)
    assert "hunter2" not in result.output
    assert "********" in result.stdout


def test_the_command_gives_json() -> None:
    told = json.loads(config_show("--format", "json", "--bootstrap", "a:1").stdout)
    assert told["kafka.bootstrap"] == {"value": ["a:1"], "origin": "flag --bootstrap"}
    assert told["ship.provenance"] == {"value": "unknown", "origin": "default"}


def test_on_a_terminal_of_80_columns_nothing_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path / ("deep/" * 30) / "relight.toml", "[cluster]\nname = 'x'\n")
    text = settings_table(resolve(config=path), 80)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    column = next(line.index("from") for line in text.splitlines() if "from" in line)
    assert str(path) in "".join(line[column:].strip() for line in text.splitlines())
    assert "…" not in text


def test_a_mistake_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_METRICS__PORT", "x")
    result = config_show()
    assert (result.exit_code, result.stdout) == (2, "")
    expected = "relight: environment RELIGHT_METRICS__PORT: metrics.port should be a valid integer, not 'x'\n"
    assert result.stderr == expected


def test_a_command_with_settings_gets_what_its_flags_say() -> None:
    seen: list[Resolved] = []

    @click.command()
    @click.option("--job", "ship__job")
    @click.option("--own")
    @with_settings
    def command(resolved: Resolved, own: str) -> None:
        assert own == "mine"
        seen.append(resolved)

    flags = {
        "--bootstrap": ("kafka.bootstrap", ("a:1", "b:2")),
        "--cluster": ("cluster.name", "c"),
        "--metrics-port": ("metrics.port", 1),
        "--log-level": ("log.level", "error"),
        "--member": ("cluster.member", "m"),
        "--job": ("ship.job", "j"),
    }
    words = ["--own", "mine", "--bootstrap", "a:1,b:2", "--cluster", "c", "--metrics-port", "1"]
    words += ["--log-level", "error", "--member", "m", "--job", "j"]
    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0
    told = {setting.key: setting for setting in seen[0].origins}
    for flag, (key, value) in flags.items():
        assert told[key] == Setting(key, value, f"flag {flag}")


def test_the_levels_of_the_flag_are_those_of_the_setting() -> None:
    assert get_args(Log.model_fields["level"].annotation) == LEVELS
