"""A verdict on its way: signed on one topic, admitted on another, an event of its incident, and what is learned."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fleet import Fleet, events, records, until
from lab import CLUSTER, Lab
from remedying import keys, remedied

from relight.catalogue import catalogue, resolver
from relight.cli import main
from relight.keys import Role, key_file
from relight.replay import rebuilt
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Query
from relight.topics import CONTROL, DEADLETTERS, INCIDENTS, SIGNALS
from relight.transports.opening import open_log
from relight.transports.port import Outgoing
from schemas.deadletter import RecordRefused
from schemas.document import IncidentDocument
from schemas.events import Event, decoded, encoded
from schemas.signal import Tick
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
        assert until(lambda: settled(made))
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
    assert until(lambda: documents(lab)[0].verdicts)
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
    assert until(lambda: len(given(lab, DEADLETTERS, RecordRefused)) == 4)
    assert until(lambda: documents(lab)[0].verdicts)
    time.sleep(0.5)
    assert [*documents(lab)[0].verdicts] == ["fine"]
    assert len(given(lab, INCIDENTS, IncidentJudged)) == 1


def test_a_verdict_finds_its_cluster_on_either_log_whatever_key_it_came_with(fleet: Fleet, tmp_path: Path) -> None:
    remedied(fleet, tmp_path).start("remediate", "remediate")
    fleet.start("correlate", "diagnose", "correlate")
    about = Judged(fault="gpu.fallen_off_bus", signature="nvrm.xid.79")
    told = {"incident": "i1", "judgement": Judgement.CORRECT, "about": about, "by": "ann", "at_s": time.time()}
    with open_log(fleet.settings) as log:
        for cluster in ("c1", "c2", "c3"):
            said = keys(fleet, Role.REQUESTS).signed(Verdict(id=f"of-{cluster}", cluster=cluster, **told))
            log.append([Outgoing(CONTROL, encoded(Event(said.id, cluster, "i1", said.at_s, said)), b"a foreign key")])
        assert until(lambda: len([e for e in events(log, INCIDENTS) if isinstance(e.data, IncidentJudged)]) == 3)
        for topic, kind in ((SIGNALS, VerdictAdmitted), (INCIDENTS, IncidentJudged)):
            places = {decoded(r.value).cluster: r.partition for r in records(log, topic)
                      if isinstance(decoded(r.value).data, kind)}  # fmt: skip
            ticks = {decoded(r.value).cluster: r.partition for r in records(log, SIGNALS)
                     if isinstance(decoded(r.value).data, Tick)}  # fmt: skip
            assert places == ticks
    replay = fleet.call("replay")
    assert "3 events rebuilt: 3 have the same bytes" in replay.stdout, replay.stdout + replay.stderr
