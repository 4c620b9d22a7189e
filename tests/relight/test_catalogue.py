"""The catalogue in force: shipped rules and one's own, from the cache only while the files are the same."""

from pathlib import Path

import pytest
import yaml

from diagnose.rules import Catalogue, RuleError
from relight.catalogue import automaton, catalogue, resolver, rule_files
from schemas.signature import Signature

RULE = {
    "id": "own.rule",
    "title": "The flux capacitor broke",
    "from": ["app"],
    "fault": "software.user_code",
    "pattern": ["flux capacitor broke"],
    "meaning": "It is broken for good.",
    "action": "Replace the capacitor.",
    "source": "https://example.org/flux",
    "match": ["the flux capacitor broke"],
    "not_match": ["the flux capacitor is fine"],
}


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(path: Path, **change: object) -> Path:
    path.write_text(yaml.safe_dump({"layer": "own", "signatures": [RULE | change]}))
    return path


def test_the_catalogue_is_the_same_from_the_files_and_from_the_cache() -> None:
    assert catalogue() == catalogue()


def test_a_rule_that_is_edited_takes_effect_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml")
    assert catalogue((path,)).by_id["own.rule"].title == RULE["title"]
    write(path, title="The flux capacitor melted")
    assert catalogue((path,)).by_id["own.rule"].title == "The flux capacitor melted"


def test_rules_of_ones_own_are_in_force_only_where_they_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml")
    assert "own.rule" in catalogue((path,)).by_id
    assert "own.rule" not in catalogue().by_id


def test_a_rule_of_ones_own_is_scanned_for(tmp_path: Path) -> None:
    order, database = automaton(catalogue((write(tmp_path / "own.yaml"),)))
    found: list[str] = []
    database.scan(
        b"the flux capacitor broke\n",
        match_event_handler=lambda n, *_: found.append(order.signatures[order.expressions[n].owner].id),
    )
    assert "own.rule" in found


def test_of_two_files_the_later_one_replaces_rules_of_the_earlier(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.yaml"), write(tmp_path / "two.yaml", title="The second of that name")
    assert catalogue((one, two)).by_id["own.rule"].title == "The second of that name"
    assert catalogue((two, one)).by_id["own.rule"].title == RULE["title"]


def test_a_rule_that_is_not_sound_is_an_error_before_anything_is_scanned(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"own\.yaml:3: rule own\.rule: `identity` names `pci`"):
        catalogue((write(tmp_path / "own.yaml", identity=["pci"]),))


def test_the_shipped_files_come_first(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml")
    assert rule_files((path,))[:-1] == rule_files(())
    assert rule_files((path,))[-1] == path


def test_a_code_of_a_table_has_a_signature_of_its_own(known: Catalogue) -> None:
    fallen = resolver(known)("nvrm.xid.79")
    assert isinstance(fallen, Signature)
    assert (fallen.id, fallen.fault) == ("nvrm.xid.79", "gpu.fallen_off_bus")


@pytest.mark.parametrize("name", ["", "nonsense", "nonsense.79"])
def test_a_name_that_nobody_gave_is_a_key_error(known: Catalogue, name: str) -> None:
    with pytest.raises(KeyError):
        resolver(known)(name)
