"""`relight remediate`: reads incidents, outcomes and requests, plans what is to be done, and issues signed commands.

What orchestrators report and people ask for is first admitted to `relight.incidents`, if it is authentic; what people
say of a diagnosis to `relight.signals`, for correlate learns from it. Decisions are taken at ticks, which the stage
writes to `relight.incidents` itself, and acts on when it reads them back: so a replay of the topic gives the same ones.
A tick is written when something new has been read, or when time alone may change something.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import orjson

from ingest.redaction import masked
from relight.keys import KeyFile
from relight.metrics import StageMetrics
from relight.stages.asking import RETRY_S, Asking
from relight.stages.deadletters import cluster_of, refused
from relight.stages.publishing import published
from relight.stages.remedies import FLOOR, NAME, Restored, restored
from relight.stages.snapshots import Snapshot, written
from relight.topics import CONTROL, INCIDENTS, OUTCOMES, READS, SIGNALS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from remediate import keeping
from remediate.cases import EVERYWHERE, Cases
from remediate.planner import Planner
from remediate.signing import NotAuthentic
from remediate.silences import check_patterns
from schemas.command import OUTPUT_CHARACTERS, REASON_CHARACTERS, REFUSED, CommandOutcome, Request
from schemas.events import Event, NotAnEvent, data_of, decoded, encoded
from schemas.playbook import Playbook
from schemas.policy import Policy
from schemas.remedy import OutcomeAdmitted, PolicyAdopted, RemediationTick, RequestAdmitted
from schemas.signal import derived_id
from schemas.verdict import Verdict, VerdictAdmitted

_BEHIND_S: Final = 10.0
"""What was reported while nobody planned is read before anything is decided, if it can be within this."""
_GAP: Final = 5
"""The last offsets of a partition may be those of transactions."""
_EXPECTED: Final[dict[str, tuple[type, ...]]] = {OUTCOMES: (CommandOutcome,), CONTROL: (Request, Verdict)}
"""What may be on a topic."""
_OLD_S: Final = 3600.0
"""A request that is older than this when it comes to its topic is one that was made before."""


@dataclass(slots=True)
class _Owned:
    """A cluster whose partition this process has. `adopted_s` is when the policy was written last."""

    cases: Cases
    planner: Planner
    asking: Asking = field(default_factory=Asking)
    adopted_s: float = 0.0


@dataclass(slots=True)
class _Share:
    """A partition: the state of its clusters, and what this process does with each."""

    position: int
    state: Restored
    owned: dict[str, _Owned] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    snapshot_s: float = field(default_factory=time.monotonic)


class Remediate:
    """The stage. `now` tells the time (Unix, seconds) that ticks record."""

    name = NAME
    inputs = READS[NAME]

    def __init__(
        self,
        log: EventLog,
        playbooks: Sequence[Playbook],
        policy: Policy,
        metrics: StageMetrics,
        *,
        commands: KeyFile,
        outcomes: KeyFile,
        requests: KeyFile,
        snapshot_s: float = 60.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take what the stage works with, and the keys with which messages are signed and checked."""
        self._log, self._playbooks, self._policy, self._metrics = log, tuple(playbooks), policy, metrics
        self._commands, self._outcomes, self._requests = commands, outcomes, requests
        self._snapshot_s, self._now, self._digest = snapshot_s, now, digest(playbooks)
        self._shares: dict[Partition, _Share] = {}
        self._behind: dict[Partition, tuple[int, float]] = {}

    def gain(self, partition: Partition, position: int) -> None:
        """Rebuild the clusters of a partition of incidents: from their snapshots, and the events since."""
        if partition.topic != INCIDENTS:
            if position < (end := self._log.spans(partition.topic)[partition.number].end):
                self._behind[partition] = end, time.monotonic() + _BEHIND_S
            return
        share = self._shares[partition] = _Share(position, restored(self._log, partition.number, position))
        for cases in share.state.clusters.values():
            self._own(share, cases).cases.look_at_all()
        share.changed = set(share.owned)
        share.snapshot_s = time.monotonic()

    def lose(self, partition: Partition) -> None:
        """Forget the clusters of a partition."""
        self._shares.pop(partition, None)
        self._behind.pop(partition, None)

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Admit what was reported and asked for; take in events of incidents, and at ticks return what follows."""
        for record in records:
            if (behind := self._behind.get(record.place)) and record.offset + _GAP >= behind[0]:
                del self._behind[record.place]
            try:
                if record.topic == INCIDENTS:
                    yield from self._followed(record)
                else:
                    yield from self._admitted(record)
            except NotAnEvent as error:
                self._metrics.dead_letter("not an event")
                yield refused(NAME, cluster_of(record), record, str(error))
            except NotAuthentic as error:
                self._metrics.dead_letter("not authentic")
                yield refused(NAME, cluster_of(record), record, f"it is not believed: {error}")

    def beat(self) -> Iterable[Outgoing]:
        """Return the ticks, the policies and the snapshots that are due."""
        now = time.monotonic()
        self._behind = {place: one for place, one in self._behind.items() if now < one[1]}
        for partition, share in self._shares.items():
            for name in sorted(share.owned):
                owned = share.owned[name]
                event = self._adopted(owned, now) or (None if self._behind else self._tick(owned, now))
                if event is not None:
                    yield Outgoing(INCIDENTS, encoded(event), name.encode(), partition=partition.number)
            if share.changed and now - share.snapshot_s >= self._snapshot_s:
                share.snapshot_s = now
                yield from self._snapshots(partition, share)

    def close(self) -> None:
        """Hold nothing that has to be let go of."""

    def _followed(self, record: Record) -> Iterator[Outgoing]:
        """Take in an event of incidents, and yield what follows from it. Raises: NotAnEvent."""
        share = self._shares[record.place]
        if record.offset < share.position:
            return
        share.position = record.offset + 1
        event = decoded(record.value)
        for cases in share.state.concerned(event):
            share.changed.add(cases.name)
            for said in self._own(share, cases).planner.follow(cases, event):
                self._metrics.incident(said.type.name)
                yield Outgoing(INCIDENTS, encoded(said), said.cluster.encode(), partition=record.partition)
                yield from published(said, cases, self._commands.keys)

    def _admitted(self, record: Record) -> Iterator[Outgoing]:
        """Yield what an orchestrator or a person says as a fact. Raises: NotAnEvent, NotAuthentic."""
        said = decoded(record.value).data
        expected = _EXPECTED[record.topic]
        if not isinstance(said, CommandOutcome | Request | Verdict) or not isinstance(said, expected):
            raise NotAnEvent(f"it does not belong to {record.topic}")
        keys = self._outcomes if record.topic == OUTCOMES else self._requests
        keys.keys.check(data_of(record.value))
        if record.topic == CONTROL:
            _check(said, record)
        if not isinstance(said, Request) and said.cluster == EVERYWHERE:
            raise NotAnEvent("an outcome and a verdict are of one cluster")
        yield from self._facts(said)

    def _facts(self, said: CommandOutcome | Request | Verdict) -> Iterator[Outgoing]:
        if isinstance(said, Verdict):
            yield _admitted(said)
            return
        if isinstance(said, CommandOutcome):
            if said.command.startswith(REFUSED):
                return  # it is about a record that is no command
            name = derived_id("admitted", said.cluster, said.id)
            told = {
                "before": {},
                "reason": masked(said.reason)[:REASON_CHARACTERS],
                "output": masked(said.output)[-OUTPUT_CHARACTERS:],
            }
            noted = OutcomeAdmitted(outcome=said.model_copy(update=told))
            event = Event(name, said.cluster, said.command, said.at_s, noted)
            yield Outgoing(INCIDENTS, encoded(event), said.cluster.encode())
            return
        cluster = said.cluster or EVERYWHERE
        name = derived_id("admitted", cluster, said.id)
        event = Event(name, cluster, said.command or cluster, said.at_s, RequestAdmitted(request=said))
        if cluster != EVERYWHERE:
            yield Outgoing(INCIDENTS, encoded(event), cluster.encode())
            return
        for number in sorted(self._log.spans(INCIDENTS)):
            yield Outgoing(INCIDENTS, encoded(event), cluster.encode(), partition=number)

    def _adopted(self, owned: _Owned, now: float) -> Event | None:
        """Return the policy, if it is not in force yet."""
        cases = owned.cases
        if (cases.policy, cases.playbooks) == (self._policy, self._digest) or now - owned.adopted_s < RETRY_S:
            return None
        owned.adopted_s = now
        data = PolicyAdopted(policy=self._policy, playbooks=self._digest)
        name = derived_id("policy", cases.name, cases.tick, self._digest, data.policy.model_dump_json())
        return Event(name, cases.name, cases.name, self._time_s(cases), data)

    def _tick(self, owned: _Owned, now: float) -> Event | None:
        """Return the next tick, if there is a reason for one and the policy is in force."""
        cases = owned.cases
        if (cases.policy, cases.playbooks) != (self._policy, self._digest):
            return None
        if owned.asking.waits(cases.tick, now):
            return None
        time_s = self._time_s(cases)
        due_s = owned.planner.due_s(cases)
        if not cases.fresh and (due_s is None or time_s < due_s):
            return None
        data = RemediationTick(number=owned.asking.next(cases.tick, now), time_s=time_s)
        return Event(derived_id("remediation", cases.name, data.number), cases.name, cases.name, time_s, data)

    def _time_s(self, cases: Cases) -> float:
        return round(max(cases.time_s, self._now()), 3)

    def _snapshots(self, partition: Partition, share: _Share) -> Iterator[Outgoing]:
        """Yield the states of the clusters that have changed, and the offset from which the rest is to be read."""
        for name in sorted(share.changed):
            state = keeping.kept(share.owned[name].cases)
            yield from written(Snapshot(NAME, name, keeping.VERSION, share.position, state), name, partition.number)
        share.changed.clear()
        floor = Snapshot(NAME, FLOOR, keeping.VERSION, share.position, share.state.everywhere_kept)
        yield from written(floor, FLOOR, partition.number)

    def _own(self, share: _Share, cases: Cases) -> _Owned:
        if cases.name not in share.owned:
            share.owned[cases.name] = _Owned(cases, Planner(self._playbooks))
        return share.owned[cases.name]


def digest(playbooks: Iterable[Playbook]) -> str:
    """Return what tells playbooks in force from others."""
    told = [one.model_dump(mode="json") for one in sorted(playbooks, key=lambda one: one.id)]
    return sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _admitted(verdict: Verdict) -> Outgoing:
    """Return a verdict as a fact for who diagnoses the cluster."""
    name = derived_id("admitted", verdict.cluster, verdict.id)
    told = verdict.model_copy(update={"note": masked(verdict.note)[:REASON_CHARACTERS]})
    event = Event(name, verdict.cluster, verdict.incident, verdict.at_s, VerdictAdmitted(verdict=told))
    return Outgoing(SIGNALS, encoded(event), verdict.cluster.encode())


def _check(said: CommandOutcome | Request | Verdict, record: Record) -> None:
    """Refuse what cannot be carried out, or was captured and sent again. Raises: NotAnEvent, NotAuthentic."""
    if record.time_ms / 1000 - said.at_s > _OLD_S:
        raise NotAuthentic("it was signed long before it came: it is sent again")
    try:
        check_patterns(said.matchers if isinstance(said, Request) else ())
    except ValueError as error:
        raise NotAnEvent(str(error)) from None
