"""A verdict on its way: signed on one topic, admitted on another, an event of its incident, and what is learned."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fleet import events, until
from lab import CLUSTER, Lab

from relight.catalogue import catalogue, resolver
from relight.cli import main
from relight.keys import Role, key_file
from relight.replay import rebuilt
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Query
from relight.topics import CONTROL, DEADLETTERS, INCIDENTS, SIGNALS
from relight.transports.port import Outgoing
from schemas.deadletter import RecordRefused
from schemas.document import IncidentDocument
from schemas.events import Event, encoded
from schemas.verdict import IncidentJudged, Judged, Judgement, Verdict, VerdictAdmitted

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-run" / "logs"
STAGES = ("match", "correlate", "remediate", "index")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A cluster at work, in which the example's GPU is lost."""
    made = Lab(tmp_path)
    logs = shutil.copytree(EXAMPLE, tmp_path / "logs")
    with made.running(*STAGES):
        made.ship(logs)
        assert until(lambda: settled(made), 30)
        yield made


def documents(lab: Lab) -> list[IncidentDocument]:
    with EmbeddedStore(lab.folder / "relight.db", durable=False) as store:
        return [*store.search(Query()).documents]


def settled(lab: Lab) -> list[IncidentDocument]:
    return [one for one in documents(lab) if one.history.settled]


def relight(lab: Lab, *words: str) -> Result:
    environment = {"RELIGHT_KEYS__FOLDER": str(lab.folder / "keys"), "RELIGHT_CONFIG": ""}
    flags = ("--embedded", str(lab.folder / "relight.db"), "--cluster", CLUSTER)
    return CliRunner().invoke(main, [*words, *flags], env=environment, catch_exceptions=False)


def given(lab: Lab, topic: str, kind: type) -> list[Event]:
    return [event for event in events(lab.log, topic) if isinstance(event.data, kind)]


def test_a_verdict_becomes_an_event_of_its_incident_is_shown_and_replays_to_the_same_bytes(lab: Lab) -> None:
    (document,) = settled(lab)
    said = relight(lab, "incidents", "verdict", document.id[:8], "--wrong", "--note", "api_key=sk-abcdefghijklmnop1234")
    assert said.exit_code == 0, said.output
    assert said.stdout == f"wrong: gpu.fallen_off_bus (nvrm.xid.79); incident {document.id[:8]}\n"
    assert until(lambda: documents(lab)[0].verdicts, 30)
    (admitted,) = given(lab, SIGNALS, VerdictAdmitted)
    (judged,) = given(lab, INCIDENTS, IncidentJudged)
    assert isinstance(judged.data, IncidentJudged)
    assert (admitted.subject, judged.data.incident) == (document.id, document.id)
    assert "sk-abcdefghijklmnop" not in judged.data.note
    shown = relight(lab, "incidents", "show", document.id).stdout
    assert "gpu.fallen_off_bus (nvrm.xid.79) is wrong, says" in shown
    assert relight(lab, "incidents", "search", "judged", "wrong").stdout.startswith(document.id)
    found = rebuilt(lab.log, resolver(catalogue()), 0.5)
    assert (found.differences, found.incidents, found.same) == ([], 1, found.events)


def test_what_nobody_vouches_for_or_was_signed_long_ago_is_no_verdict(lab: Lab) -> None:
    (document,) = settled(lab)
    keys = key_file(lab.settings(), Role.REQUESTS).keys
    others = key_file(lab.settings(), Role.OUTCOMES).keys
    about = Judged(fault="gpu.fallen_off_bus", signature="nvrm.xid.79")

    def verdict(name: str, at_s: float, cluster: str = CLUSTER) -> Verdict:
        return Verdict(
            id=name, cluster=cluster, incident=document.id, judgement=Judgement.WRONG, about=about, by="x", at_s=at_s
        )

    now_s = time.time()
    for one in (
        verdict("unsigned", now_s),
        others.signed(verdict("with-another-key", now_s)),
        keys.signed(verdict("captured", now_s - 7200)),
        keys.signed(verdict("everywhere", now_s, "*")),
        keys.signed(verdict("fine", now_s)),
        keys.signed(verdict("fine", now_s)),
    ):
        lab.log.append([Outgoing(CONTROL, encoded(Event(one.id, one.cluster, one.incident, one.at_s, one)), b"key")])
    assert until(lambda: len(given(lab, DEADLETTERS, RecordRefused)) == 4, 30)
    assert until(lambda: documents(lab)[0].verdicts, 30)
    time.sleep(0.5)
    assert [*documents(lab)[0].verdicts] == ["fine"]
    assert len(given(lab, INCIDENTS, IncidentJudged)) == 1
