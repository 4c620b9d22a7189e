"""What others have learned the hard way, from their lines to the commands: what must not be answered with machines.

The lines go the whole way: as a trusted shipper sends them, matched, correlated, and planned for with the playbooks
that are shipped, all guards open but approval given beforehand.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from diagnose.correlation.cluster import Cluster
from diagnose.correlation.evidence import Resolve
from diagnose.correlation.reaction import Correlator
from diagnose.matching.scanner import Scanner
from diagnose.matching.stream import Matcher
from ingest.decode import LogFormats
from ingest.redaction import shown
from relight.playbook_book import playbooks
from relight.stages.sources import Sources
from relight.topics import LOGS
from relight.transports.port import Record
from schemas.action import ACTIONS
from schemas.command import RequestKind
from schemas.events import Event
from schemas.history import Happening
from schemas.policy import Policy
from schemas.remedy import CommandState
from schemas.shipped import Shipped
from schemas.signal import Tick
from schemas.vocabulary import Culprit, Provenance
from tests.remediate.stories import START_S, notify, playbook, rung
from tests.remediate.world import World

NOW_S = START_S + 300
OPEN = Policy(dry_run=False, cooldown_s=0, hosts_out=1000, restarts=100)
CHUNK_BYTES = 60_000


@dataclass
class Fleet:
    """A cluster of hosts whose lines are followed."""

    matcher: Matcher
    resolve: Resolve

    def happenings(self, lines: Mapping[str, bytes], job: str | None = None, kernel: bool = True) -> list[Event]:
        """Return the events of incidents that the lines of hosts come to, once it has been quiet for long."""
        sources, cluster, at = Sources(self.matcher, every_ms=0), Cluster("alpha"), 0
        for host, text in lines.items():
            line = 1
            for begin, chunk in _chunks(text):
                told = Shipped(
                    cluster="alpha", host=host, stream="kernel" if kernel else "/logs/out.log", generation="g",
                    provenance=Provenance.KERNEL if kernel else Provenance.APP, attested=True, offset_bytes=begin,
                    line=line, observed_ms=round(NOW_S * 1000), job=job, at_end=begin + len(chunk) == len(text),
                )  # fmt: skip
                line += chunk.count(b"\n")
                record = Record(LOGS, 0, at, told.key, chunk, told.headers(), round(NOW_S * 1000))
                at += 1
                for event in sources.said(sources.take([record], lambda record, reason: None)):
                    cluster.apply(event)
        said: list[Event] = []
        for number, time_s in enumerate((NOW_S, NOW_S + 120), 1):
            tick = Event(f"t{number}", "alpha", "alpha", time_s, Tick(number=number, time_s=time_s))
            said += Correlator(self.resolve, 30.0).follow(cluster, tick)
        return [event for event in said if isinstance(event.data, Happening)]


@pytest.fixture
def fleet(scanner: Scanner, resolve: Resolve) -> Fleet:
    return Fleet(Matcher(scanner, LogFormats(), shown), resolve)


def _chunks(text: bytes) -> list[tuple[int, bytes]]:
    found, begin = [], 0
    while begin < len(text):
        end = min(len(text), begin + CHUNK_BYTES)
        end = len(text) if end == len(text) else text.rindex(b"\n", begin, end) + 1
        found.append((begin, text[begin:end]))
        begin = end
    return found


def planned(events: Sequence[Event]) -> World:
    """Return the cluster that has planned for events, people having agreed to everything that they were asked."""
    w = World(playbooks(), OPEN, now_s=NOW_S + 120)
    w.topic += events
    for _ in range(10):
        w.tick(60)
        for command in w.commands:
            if command.state is CommandState.ISSUED:
                w.succeed(command.id)
            elif command.blocked and command.state is CommandState.PLANNED:
                w.ask(RequestKind.APPROVE, command=command.id)
    return w


def machines_taken(w: World) -> list[str]:
    return [kind for kind in w.actions() if ACTIONS[kind].takes_out]


def kernel(*messages: str, at_s: float = 4000.0) -> bytes:
    return "".join(f"[{at_s + n:12.6f}] {text}\n" for n, text in enumerate(messages)).encode()


XID = "NVRM: Xid (PCI:0000:3b:00): {code}, pid=4711, name=python, {rest}"


def test_hosts_whose_only_sign_is_that_a_job_was_torn_down_there_lose_nothing(fleet: Fleet) -> None:
    torn = XID.format(code=45, rest="Ch 00000008")
    w = planned(fleet.happenings({f"node{n:02d}": kernel(*[torn] * 8) for n in range(77)}))
    assert w.commands == []


def test_a_host_whose_gpu_is_gone_is_told_apart_from_77_that_were_torn_down_with_it(fleet: Fleet) -> None:
    torn = XID.format(code=45, rest="Ch 00000008")
    lines = {f"node{n:02d}": kernel(*[torn] * 8) for n in range(77)}
    lines["node99"] = kernel(XID.format(code=79, rest="GPU has fallen off the bus."), *[torn] * 8, at_s=3990)
    w = planned(fleet.happenings(lines, job="48211"))
    assert machines_taken(w), "the one that is broken is"
    affected = {
        str(r) for c in w.commands if c.issued_s and c.plan for r in c.plan.affects if str(r).startswith("host/")
    }
    assert affected == {"host/node99"}


def test_one_line_that_is_repeated_800_000_times_is_one_incident_and_one_command(fleet: Fleet) -> None:
    """A tenth of it, unless there is time: `RELIGHT_HYPOTHESIS=thorough`."""
    times = 800_000 if os.environ.get("RELIGHT_HYPOTHESIS") == "thorough" else 80_000
    line = kernel(XID.format(code=79, rest="GPU has fallen off the bus."))
    w = planned(fleet.happenings({"node03": line * times}, job="48211"))
    assert len(w.cases.cases) == 1
    assert w.actions().count("restart_job_excluding_hosts") == 1


@pytest.mark.parametrize(
    "line",
    [
        "nv-hostengine[812]: ERROR: host engine exited: unable to bind to port 5555",
        'dcgm-exporter[99]: level=error msg="Failed to collect metrics" error="context deadline exceeded"',
        "nvsentinel-monitor[7]: panic: runtime error: invalid memory address or nil pointer dereference",
        "prometheus-node-exporter[44]: connection refused: is the agent running?",
    ],
)
def test_the_monitor_itself_failing_costs_no_machine(fleet: Fleet, line: str) -> None:
    stamped = f"2026-05-12T03:00:05Z {line}\n".encode()
    w = planned(fleet.happenings({f"node{n:02d}": stamped * 50 for n in range(40)}, kernel=False))
    assert machines_taken(w) == []


def test_a_gpu_that_takes_anothers_place_begins_with_a_clean_record() -> None:
    old, new = "GPU-8f2c1d3e-aaaa-bbbb-cccc-000000000001", "GPU-8f2c1d3e-aaaa-bbbb-cccc-000000000002"
    ladder = [
        rung("reset_gpu", timeout="30m", approval="never"), rung("replace_node", timeout="1d", approval="never"),
        notify(),
    ]  # fmt: skip
    w = World([playbook("gpu", "*", ladder=ladder)], OPEN)

    def fails(name: str, gpu: str) -> list[str]:
        w.fails(name, job=None, kind=Culprit.GPU, gpu=gpu, opened_s=w.now_s)
        for _ in range(3):
            w.tick(30)
            for command in w.commands:
                if command.state is CommandState.ISSUED:
                    w.succeed(command.id, healthy=True)
        return [kind for kind in w.actions(name) if kind != "collect_diagnostics"]

    assert fails("one", old) == ["reset_gpu"]
    assert fails("two", old) == ["replace_node"], "the same GPU again is the next rung"
    assert fails("three", new) == ["reset_gpu"], "another GPU is not made to pay for it"
