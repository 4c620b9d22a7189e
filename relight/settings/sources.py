"""Where settings are read from, what wins, and what is wrong with them, said by file and key."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path
from typing import Final, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from relight.settings.models import DELIMITER, PREFIX, Settings

FILE: Final = "relight.toml"
_FLAGS: Final = {
    "cluster.name": "--cluster",
    "embedded.path": "--embedded",
    "metrics.port": "--metrics-port",
    "log.level": "--log-level",
}
"""The flags that are not called like the key of their setting."""
_OTHERS: Final = ("RELIGHT_CONFIG", "RELIGHT_HYPOTHESIS", "RELIGHT_REQUIRE_SERVERS")
"""Variables that are no settings; so are those for tests."""
_FOR_TESTS: Final = "RELIGHT_TEST_"

_PHRASES: Final = re.compile(r"^(?:Input|String) |, unable to .*")
"""What pydantic says that our sentence says already, or that helps nobody."""

_Layer = Mapping[str, tuple[object, str]]
"""From a setting's key (`kafka.bootstrap`) to its value and where it comes from."""


class Misconfigured(Exception):
    """Settings are wrong. The message has a line for each mistake: where it is, and what to do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force: its key (`kafka.bootstrap`), its value, and where that comes from."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings in force, where each comes from, and the file that was read, if there is one."""

    settings: Settings
    origins: tuple[Setting, ...]
    file: Path | None


def settings(flags: Mapping[str, object] | None = None, config: Path | None = None) -> Settings:
    """Return the settings in force. See `resolve`."""
    return resolve(flags, config).settings


def origins(flags: Mapping[str, object] | None = None, config: Path | None = None) -> tuple[Setting, ...]:
    """Return every setting with its value and where that comes from. See `resolve`."""
    return resolve(flags, config).origins


def resolve(flags: Mapping[str, object] | None = None, config: Path | None = None) -> Resolved:
    """Read settings: flags win over the environment, that over the file, that over the defaults.

    Args:
        flags: values by the key of their setting, such as `kafka.bootstrap`; `None` and `()` are not given.
        config: the file. Without it the one that `RELIGHT_CONFIG` names, else the first that is there of
            `relight.toml`, `$XDG_CONFIG_HOME/relight/relight.toml` and `/etc/relight/relight.toml`.

    Raises:
        Misconfigured: a file cannot be read, or a key or value in one of the sources is wrong.
    """
    file = config or _file()
    read = {**(_from_file(file) if file else {}), **_from_environment(), **_from_flags(flags or {})}
    found = _validated(read)
    told = (Setting(key, attrgetter(key)(found), read[key][1] if key in read else "default") for key in _KEYS)
    return Resolved(found, tuple(told), file)


def _file() -> Path | None:
    if named := os.environ.get("RELIGHT_CONFIG"):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    home = Path(base or os.path.expanduser("~/.config"))
    places = (Path(FILE).absolute(), home / "relight" / FILE, Path("/etc/relight") / FILE)
    return next((place for place in places if place.is_file()), None)


def _from_file(path: Path) -> _Layer:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise Misconfigured(f"{path}: this is not TOML: {error}") from None
    wrong = [f"{path}: {name} is a section: write `[{name}]`" for name in _not_tables(content)]
    layer = {key: (value, str(path)) for key, value in _flat(content)}
    _refuse(wrong + [f"{path}: {_unknown(key)}" for key in layer if key not in _KEYS])
    return layer


def _not_tables(content: Mapping[str, object]) -> list[str]:
    return [name for name, value in content.items() if name in Settings.model_fields and not isinstance(value, dict)]


def _flat(content: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, table in content.items():
        if isinstance(table, dict):
            yield from ((f"{section}.{name}", value) for name, value in table.items())
            if not table and section not in Settings.model_fields:
                yield section, table
        elif section not in Settings.model_fields:
            yield section, table


def _from_environment() -> _Layer:
    wrong = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in _OTHERS and not name.startswith(_FOR_TESTS):
            key = name.removeprefix(PREFIX).lower().replace(DELIMITER, ".")
            if key not in _KEYS:
                near = get_close_matches(name, map(_variable, _KEYS), 1)
                wrong.append(f"environment {name}: there is no such setting{_meant(near)}")
    _refuse(wrong)
    read = _flat(EnvSettingsSource(Settings)())
    return {key: (value, f"environment {_variable(key)}") for key, value in read}


def _from_flags(flags: Mapping[str, object]) -> _Layer:
    layer = {key: (value, f"flag {flag(key)}") for key, value in flags.items() if value is not None and value != ()}
    if "embedded.path" in layer and "kafka.bootstrap" not in layer:
        layer["kafka.bootstrap"] = ((), layer["embedded.path"][1])  # who names a file does not mean the file's brokers
    return layer


def flag(key: str) -> str:
    """Return the flag of a setting: `--bootstrap` for `kafka.bootstrap`."""
    return _FLAGS.get(key) or "--" + key.partition(".")[2].replace("_", "-")


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", DELIMITER)


def _unknown(key: str) -> str:
    section, _, name = key.partition(".")
    if section not in Settings.model_fields:
        near = [f"[{found}]" for found in get_close_matches(section, Settings.model_fields, 1)]
        return f"there is no section [{section}]{_meant(near)}" if name else f"there is no setting {key}{_meant(near)}"
    beside = [known.partition(".")[2] for known in _KEYS if known.startswith(f"{section}.")]
    near = [f"{section}.{found}" for found in get_close_matches(name, beside, 1)]
    elsewhere = [known for known in _KEYS if known.endswith(f".{name}")]
    return f"there is no setting {key}{_meant(near or elsewhere)}"


def _meant(near: list[str]) -> str:
    return f"; did you mean {near[0]}?" if near else "; `relight config show` lists all there are"


def _validated(read: _Layer) -> Settings:
    nested: dict[str, dict[str, object]] = {}
    for key, (value, _) in read.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        wrong: dict[str, list[ErrorDetails]] = {}  # a type with alternatives complains once for each
        for found in error.errors():
            wrong.setdefault(".".join(map(str, found["loc"][:2])), []).append(found)
        raise Misconfigured("\n".join(_line(read, key, complaints) for key, complaints in wrong.items())) from None


def _line(read: _Layer, key: str, found: list[ErrorDetails]) -> str:
    if key in read:
        return f"{read[key][1]}: {key} {_complaint(key, found)}"
    said = dict.fromkeys(origin for name, (_, origin) in read.items() if name.startswith(f"{key}."))
    return f"{', '.join(said)}: [{key}] {found[0]['msg'].removeprefix('Value error, ')}"


def _complaint(key: str, found: list[ErrorDetails]) -> str:
    text = " or ".join(_PHRASES.sub("", one["msg"]) for one in found)
    text = text.replace(" or should be ", " or ").replace("valid tuple", "list")
    return text if key in _SECRET else f"{text}, not {found[0]['input']!r}"


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise Misconfigured("\n".join(wrong))


def _fields() -> Iterator[tuple[str, object]]:
    for section, model in Settings():
        yield from ((f"{section}.{name}", field.annotation) for name, field in type(model).model_fields.items())


def _holds_a_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_a_secret, get_args(annotation)))


_KEYS: Final = dict(_fields())
"""From the keys of all settings to their types."""
_SECRET: Final = frozenset(key for key, annotation in _KEYS.items() if _holds_a_secret(annotation))
