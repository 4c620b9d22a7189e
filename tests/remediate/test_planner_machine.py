"""Any order of events: never two commands for a target, never over the budget, nothing without approval, none stranded.

A state machine that does what logs, orchestrators, people and time do, in orders that Hypothesis makes up.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from remediate.breaker import limit
from remediate.case import is_over
from remediate.climbing import helped, superseded, to_be_mended
from remediate.ledger import keys_of
from schemas.action import ACTIONS
from schemas.command import Matcher, OutcomeStatus, RequestKind
from schemas.history import State
from schemas.policy import Policy
from schemas.remedy import CommandIssued, CommandState, command_of
from tests.remediate.stories import notify, playbook, rung
from tests.remediate.world import World

POLICY = Policy(dry_run=False, cooldown_s=60, restarts=3, restarts_s=7200, hosts_out=2, hosts_out_s=14_400, probe_s=600)
LADDERS = {
    "gpu.fallen_off_bus": (
        rung("restart_job_excluding_hosts", timeout="10m"), rung("reboot_node", timeout="20m"),
        rung("replace_node", timeout="1h", approval="never"), notify(),
    ),
    "comm.ib_link": (
        rung("wait", seconds=120), rung("restart_job", timeout="10m"), rung("drain_node", timeout="1h"), notify(),
    ),
    "host.oom_kill": (rung("restart_job", timeout="5m"), rung("restart_process", timeout="5m"), notify()),
    "scheduler.cancelled": (rung("none"),),
}  # fmt: skip
HOSTS = ("node1", "node2", "node3", "node4")
JOBS = ("a", "b", None)
STATUSES = tuple(OutcomeStatus)
_index = st.integers(0, 30)
_mostly = st.sampled_from((True, True, True, False))
_told = st.tuples(
    st.sampled_from(sorted(LADDERS)), st.sampled_from(HOSTS), st.sampled_from(JOBS), st.integers(1, 3), _mostly,
    _mostly, st.sampled_from((0.9, 0.9, 0.9, 0.3)),
)  # fmt: skip


class Planning(RuleBasedStateMachine):
    """A cluster with four hosts and two jobs."""

    @initialize()
    def begin(self) -> None:
        books = [playbook(f"for-{fault}", fault, ladder=list(ladder)) for fault, ladder in LADDERS.items()]
        self.w = World(books, POLICY)
        self.names = 0
        self.w.tick()

    @rule(told=st.lists(_told, min_size=1, max_size=5))
    def fail(self, told: list[tuple[str, str, str | None, int, bool, bool, float]]) -> None:
        for fault, host, job, attempt, verified, settled, confidence in told:
            self.names += 1
            self.w.fails(
                f"n{self.names}", fault=fault, host=host, job=job, attempt=attempt, verified=verified, settled=settled,
                confidence=confidence, opened_s=self.w.now_s,
            )  # fmt: skip
        self.w.tick()

    @precondition(lambda self: self.names)
    @rule(at=_index, host=st.sampled_from(HOSTS), fault=st.sampled_from(sorted(LADDERS)), settled=_mostly)
    def revise(self, at: int, host: str, fault: str, settled: bool) -> None:
        self.w.revises(f"n{1 + at % self.names}", host=host, fault=fault, settled=settled)

    @precondition(lambda self: self.names)
    @rule(at=_index, over=st.booleans())
    def resolve(self, at: int, over: bool) -> None:
        name = f"n{1 + at % self.names}"
        self.w.resolves(name) if over else self.w.reopens(name)

    @precondition(lambda self: self.w.commands)
    @rule(at=_index, statuses=st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3), healthy=st.booleans())
    def report(self, at: int, statuses: list[OutcomeStatus], healthy: bool) -> None:
        """Orchestrators say anything, in any order, of any command."""
        self.w.report(self.w.commands[at % len(self.w.commands)].id, *statuses, healthy=healthy)

    @precondition(lambda self: any(c.state.in_flight for c in self.w.commands))
    @rule(last=st.sampled_from(STATUSES[2:]), healthy=st.booleans(), seconds=st.sampled_from((0, 30, 700)))
    def carry_out(self, last: OutcomeStatus, healthy: bool, seconds: int) -> None:
        """Orchestrators carry out all that is in flight."""
        for command in self.w.commands:
            if command.state.in_flight:
                self.w.report(command.id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, last, healthy=healthy)
        self.w.tick(seconds)

    @precondition(lambda self: self.w.commands)
    @rule(at=_index, kind=st.sampled_from((RequestKind.APPROVE, RequestKind.DENY, RequestKind.CANCEL)))
    def speak(self, at: int, kind: RequestKind) -> None:
        self.w.ask(kind, command=self.w.commands[at % len(self.w.commands)].id)

    @precondition(lambda self: any(c.blocked and c.blocked.guard == "approval" for c in self.w.commands))
    @rule()
    def approve_all(self) -> None:
        for command in self.w.commands:
            if command.blocked and command.blocked.guard == "approval":
                self.w.ask(RequestKind.APPROVE, command=command.id)
        self.w.tick()

    @rule(everywhere=st.booleans())
    def pause(self, everywhere: bool) -> None:
        self.w.ask(RequestKind.PAUSE, cluster=None if everywhere else "alpha", until_s=self.w.now_s + 900)

    @rule(host=st.sampled_from(HOSTS))
    def silence(self, host: str) -> None:
        self.w.ask(RequestKind.SILENCE, matchers=(Matcher(label="host", value=host),), until_s=self.w.now_s + 900)

    @rule(host=st.sampled_from(HOSTS))
    def restore(self, host: str) -> None:
        self.w.ask(RequestKind.RESTORE, host=host)

    @rule(seconds=st.sampled_from((0, 1, 30, 130, 700, 4000, 20_000)))
    def time(self, seconds: int) -> None:
        self.w.tick(float(seconds))

    @rule()
    def again(self) -> None:
        """Everything is read once more, as after a redelivery."""
        for event in list(self.w.topic[: self.w.read]):
            self.w.planner.follow(self.w.cases, event)

    @invariant()
    def one_command_is_in_flight_for_a_target(self) -> None:
        held: dict[str, str] = {}
        for command in self.w.commands:
            if command.state.in_flight and command.plan:
                for key in keys_of(command.plan):
                    assert key not in held, f"{command.id} and {held[key]} are in flight for {key}"
                    held[key] = command.id

    @invariant()
    def no_job_is_started_again_too_often(self) -> None:
        starts: dict[str, list[float]] = {}
        for event in self.w.topic:
            plan = (
                self.w.cases.commands[command_of(event.subject)].plan if isinstance(event.data, CommandIssued) else None
            )
            if plan and ACTIONS[plan.action.kind].restarts:
                starts.setdefault(plan.affects[0].name, []).append(event.time_s or 0.0)
        for times in starts.values():
            for at_s in times:
                assert sum(at_s <= other < at_s + POLICY.restarts_s for other in times) <= POLICY.restarts

    @invariant()
    def no_more_hosts_are_out_of_service_than_may_be(self) -> None:
        assert len(self.w.cases.ledger.out) <= limit(POLICY)

    @invariant()
    def nothing_destructive_is_issued_without_approval_or_verified_provenance(self) -> None:
        for command in self.w.commands:
            if command.issued_s is None or command.plan is None:
                continue
            if command.plan.approval:
                assert command.approved_by is not None

    @invariant()
    def nobody_is_stranded(self) -> None:
        """Once planning has come to rest, every open and settled incident has a command, or people have it."""
        w = self.w
        if w.read < len(w.topic) or w.cases.fresh:
            return
        for case in w.cases.cases.values():
            history = case.history
            if history.state is not State.OPEN or not history.settled or superseded(w.cases, case):
                continue
            own = [w.cases.commands[name] for name in case.commands]
            live = w.cases.live(case)
            kinds = {c.plan.action.kind for c in own if c.plan}
            stopped = any(c.cancelled_by for c in own)
            over = helped(w.cases, case) or to_be_mended(w.cases, case)
            assert live or stopped or kinds & {"notify", "none"} or over, (
                history.id, [(c.state, c.plan.action.kind) for c in own if c.plan]
            )  # fmt: skip
            if live is not None and live.state is CommandState.PLANNED:
                assert live.blocked is not None, "what holds it back is said"
            if live is not None and not is_over(live) and live.state.ended:
                assert case.due_s is not None, "somebody looks at it again"


TestPlanning = Planning.TestCase
TestPlanning.settings = settings(max_examples=200, stateful_step_count=40)
