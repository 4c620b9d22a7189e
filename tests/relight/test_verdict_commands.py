"""`relight incidents verdict`: what may be said of a diagnosis, what is refused, and how it is shown and found."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.incidents.watching import Watch, words
from relight.keys import KeyFile
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Query
from relight.stores.projection import Projection
from relight.topics import CONTROL, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Record
from relight.transports.reading import records
from schemas.document import IncidentDocument
from schemas.events import Event as Said
from schemas.events import decoded
from schemas.signal import derived_id
from schemas.verdict import IncidentJudged, Judged, Judgement, Verdict, subject_of
from tests.relight import incident_stories as stories

LOST = "863dc87e-7841-52ce-aeff-0ee6cbef93cb"
UNDIAGNOSED = "22222222-0000-52ce-aeff-0ee6cbef93cb"
ABOUT = Judged(fault="gpu.fallen_off_bus", signature="nvrm.xid.79")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "relight.db"
    with EmbeddedLog(path, durable=False) as log:
        log.create(specs(1, 1))
    with EmbeddedStore(path, durable=False) as store:
        told = {LOST: stories.lost_gpu(), UNDIAGNOSED: stories.undiagnosed()}
        stories.fill(store, [stories.folded(name, one) for name, one in told.items()])
    return path


def relight(path: Path, *words: str) -> Result:
    environment = {"RELIGHT_KEYS__FOLDER": str(path.parent / "keys"), "RELIGHT_CONFIG": ""}
    words = ("incidents", *words, "--embedded", str(path))
    return CliRunner().invoke(main, words, env=environment, catch_exceptions=False)


def asked(path: Path) -> list[Record]:
    with EmbeddedLog(path, durable=False) as log:
        return [*records(log, CONTROL)]


def judged(judgement: Judgement, at_s: float, note: str = "", actual: str | None = None) -> IncidentJudged:
    return IncidentJudged(
        incident=LOST, judgement=judgement, about=ABOUT, by="ann", at_s=at_s, note=note, actual=actual
    )


def after(document: IncidentDocument, name: str, data: IncidentJudged) -> IncidentDocument:
    """Return an incident after a verdict; one that is known already changes nothing."""
    event = Said(derived_id(name), "lab", subject_of(LOST, name), 1_800_000_000.0 + data.at_s, data, 1)
    (found,) = Projection(lambda names: {LOST: document}, lambda names: ()).after([event]) or (document,)
    return found


@pytest.mark.parametrize(
    ("words", "judgement", "actual"),
    [
        (("--correct",), Judgement.CORRECT, None),
        (("--wrong",), Judgement.WRONG, None),
        (("--fault", "gpu.thermal_power"), Judgement.WRONG, "gpu.thermal_power"),
        (("--wrong", "--fault", "gpu.fallen_off_bus"), Judgement.WRONG, "gpu.fallen_off_bus"),
    ],
)
def test_a_verdict_is_signed_and_names_the_diagnosis_that_was_seen(
    path: Path, words: tuple[str, ...], judgement: Judgement, actual: str | None
) -> None:
    done = relight(path, "verdict", LOST[:6], *words, "--note", "seen in the rack", "--by", "ann")
    assert done.exit_code == 0, done.output
    (record,) = asked(path)
    KeyFile(path.parent / "keys" / "requests.keys").keys.check(json.loads(record.value or b"")["data"])
    said = decoded(record.value).data
    assert isinstance(said, Verdict)
    assert (said.cluster, said.incident, said.about) == ("lab", LOST, ABOUT)
    assert (said.judgement, said.actual, said.by, said.note) == (judgement, actual, "ann", "seen in the rack")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((LOST,), "say --correct, --wrong, or with --fault"),
        ((LOST, "--correct", "--fault", "gpu.thermal_power"), "contradict each other"),
        ((LOST, "--fault", "gpu.nonsense"), "there is no fault class 'gpu.nonsense'"),
        ((LOST, "--fault", "gpu.fallen_off_bus"), "is what the diagnosis says"),
        ((LOST, "--wrong", "--note", "x" * 3000), "note: String should have at most 2000 characters"),
        ((UNDIAGNOSED, "--wrong"), "has no diagnosis yet"),
        (("nothing", "--wrong"), "no incident has an id that begins with 'nothing'"),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_line(path: Path, words: tuple[str, ...], reason: str) -> None:
    done = relight(path, "verdict", *words)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert reason in line
    assert asked(path) == []


def test_an_incident_with_verdicts_shows_the_last_one_and_is_found_by_it(path: Path) -> None:
    before = stories.folded(LOST, stories.lost_gpu())
    one = after(before, "one", judged(Judgement.CORRECT, 1, "\x1b[31mfine"))
    two = after(one, "two", judged(Judgement.WRONG, 2, "a loose riser", "gpu.thermal_power"))
    assert two.version == before.version + 2
    assert after(two, "one", judged(Judgement.CORRECT, 1)) == two
    with EmbeddedStore(path, durable=False) as store:
        stories.fill(store, [two])
        assert [d.id for d in store.search(Query(text="judged wrong riser")).documents] == [LOST]
    shown = " ".join(relight(path, "show", LOST).stdout.split())
    assert (
        "Verdict gpu.fallen_off_bus (nvrm.xid.79) is wrong, it was gpu.thermal_power, says ann: a loose riser" in shown
    )
    assert "\x1b" not in shown
    assert "is correct, says ann: fine" in shown
    told = json.loads(relight(path, "show", LOST, "--format", "json").stdout)
    assert [*told["verdicts"]] == ["one", "two"]


def test_who_watches_is_told_of_a_verdict(path: Path) -> None:
    document = stories.folded(LOST, stories.lost_gpu())
    watched = Watch(lambda: EmbeddedStore(path, durable=False), Query(), lambda text: None)
    told = watched.changes(Event(), 0.01)
    next(told)
    with EmbeddedStore(path, durable=False) as store:
        stories.fill(store, [after(document, "one", judged(Judgement.CORRECT, 1))])
        (first,) = next(told)
        stories.fill(store, [after(first.document, "two", judged(Judgement.WRONG, 2, "a loose riser"))])
    (change,) = next(told)
    assert words(change) == "gpu.fallen_off_bus (nvrm.xid.79) is wrong, says ann: a loose riser"


def test_a_verdict_on_an_incident_of_which_events_are_missing_waits_for_them() -> None:
    event = Said("e", "lab", subject_of(LOST, "one"), 1.0, judged(Judgement.WRONG, 1), 1)
    assert Projection(lambda names: {}, lambda names: ()).after([event]) == []
