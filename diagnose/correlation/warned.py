"""Warned: which warnings led to a fault, of all that machines and programs say before it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from diagnose.correlation.causes import CauseGraph
from diagnose.correlation.evidence import Finding
from diagnose.correlation.moments import SKEW_S
from schemas.faults import fault_classes
from schemas.vocabulary import Layer, Provenance

MACHINES: Final = frozenset({Layer.HARDWARE, Layer.DRIVER, Layer.HOST, Layer.STORAGE})
"""What a machine warns of can be why a program failed that says something else itself."""

OF_SITES: Final = MACHINES | {Layer.NETWORK}
"""What machines and the network between them warn of can be why a run waits, or is slow."""

TWO_ENDED: Final = frozenset({"comm.ib_link", "comm.peer_reset", "comm.nccl_system_error"})
"""Faults of connections, which have two ends, where a line names the other one."""

WARNED_S: Final = 900.0
"""A warning explains what follows on its host within this time."""

STALLED_S: Final = 120.0
"""A warning explains that ranks anywhere began to wait within this time."""

NEAR_LINES: Final = 200
"""Where no times are known, it explains what follows in its log within so many lines."""


@dataclass(frozen=True)
class Warned:
    """Judges the warnings of one attempt.

    `findings` are all of the attempt, `faults` what processes died of. `hosts` are those of the job, `waited_for` those
    of the ranks that the others waited for, where that is known.
    """

    findings: Sequence[Finding]
    faults: Sequence[Finding]
    graph: CauseGraph
    hosts: frozenset[str] = frozenset()
    waited_for: frozenset[str] = frozenset()

    def led_to(self, warning: Finding, fault: Finding) -> bool:
        """Tell whether a warning is near enough to a fault to have led to it: on its host and in time."""
        if warning.signature.severity.rank == 0 or warning.signature.detect is not None or not _of_two(warning, fault):
            return False
        waited, layer = fault.fault in self.graph.symptoms, fault_classes()[warning.fault].layer
        if waited and self._of_others(warning):
            return False
        if fault.signature.detect is not None and layer not in OF_SITES:
            return False
        if _says_itself(fault) and layer not in MACHINES:
            return False
        if waited:
            return self._at(warning, fault) and self._telling(warning, fault)
        if not self.graph.leads_to(warning.signature, fault.signature) or not self._beside(warning, fault):
            return False
        return self._near(warning, fault, WARNED_S)

    def _at(self, warning: Finding, wait: Finding) -> bool:
        """Tell whether a warning was said as ranks began to wait."""
        return in_time(warning, wait) if wait.signature.detect is not None else self._near(warning, wait, STALLED_S)

    def _telling(self, warning: Finding, wait: Finding) -> bool:
        """Tell whether it means something that a warning was said as ranks began to wait.

        Among hundreds of hosts there is always one that warns. It does where it is the one that they waited for, or
        says so again and again, or others do not say the same at other times.
        """
        hosts = set(warning.hosts)
        if hosts & self._silent or warning.repeated:
            return True
        alike = (f for f in self._by_signature[warning.signature.id] if not hosts & set(f.hosts))
        return not any(f.healed or f.before_start or not self._at(f, wait) for f in alike)

    @cached_property
    def _by_signature(self) -> Mapping[str, Sequence[Finding]]:
        found: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            found[finding.signature.id].append(finding)
        return found

    def _of_others(self, warning: Finding) -> bool:
        """Tell whether a warning is about hosts of the job that waited as well, where it is known for whom."""
        hosts = set(warning.hosts)
        return bool(self._silent and hosts) and hosts <= self.hosts and not hosts & self._silent

    @cached_property
    def _silent(self) -> frozenset[str]:
        """Return the hosts that were waited for, unless one of them lost a connection: then it waited as well."""
        lost = any(f.fault in TWO_ENDED and self.waited_for & set(f.hosts) for f in self.faults)
        return frozenset() if lost else self.waited_for

    def _beside(self, warning: Finding, fault: Finding) -> bool:
        """Tell whether a warning and a fault are of the same host, or of the two ends of a connection."""
        one, other = set(warning.hosts), set(fault.hosts)
        if not one or not other or one & other:
            return True
        connected = fault.fault in TWO_ENDED and fault_classes()[warning.fault].layer is Layer.NETWORK
        return connected and one <= self.hosts

    def _near(self, warning: Finding, fault: Finding, within_s: float) -> bool:
        """Tell whether a warning is near a fault in time, or, where that is not known, in the log."""
        broke, begun, ended = self._broke_between(fault), warning.first.first.time_s, warning.last.time_s
        if broke is None or begun is None or ended is None:
            near = warning.last.stream == fault.first.first.stream
            return near and fault.first.first.line - warning.last.line <= NEAR_LINES
        # A warning that is said again and again lasts.
        return max(begun - broke[1], broke[0] - ended) <= within_s

    def _broke_between(self, fault: Finding) -> tuple[float, float] | None:
        """Return the times (Unix, seconds) between which something broke, `None` where they are far apart or unknown.

        What lines without times tell of was over when the first process ended.
        """
        moment, waited_s = fault.first.first, fault.timeout_s
        if moment.since_s is not None and moment.until_s is not None and moment.until_s - moment.since_s <= WARNED_S:
            return moment.since_s - waited_s, moment.until_s - waited_s
        if self._first_exit_s is not None:
            return self._first_exit_s - waited_s, self._first_exit_s - waited_s
        return None

    @cached_property
    def _first_exit_s(self) -> float | None:
        """Return when it is first said that a process ended (Unix, seconds)."""
        exits = (f.first.first for f in self.faults if f.fault == "launcher.worker_exit")
        return min((moment.time_s for moment in exits if moment.exact and moment.time_s is not None), default=None)


def in_time(cause: Finding, silence: Finding) -> bool:
    """Tell whether a cause was said before a silence that began after the last line of progress was too long.

    What was said of a wait, such as a collective's timeout, counts from when that began.
    """
    broke, since = cause.broke_s, silence.first.first.time_s
    if broke is None or since is None:
        return True
    return broke <= since + (silence.first.signal.pause_s or 0.0) + SKEW_S


def _of_two(warning: Finding, fault: Finding) -> bool:
    """Tell whether a warning says more than a fault: another thing, or what a machine said before a program did."""
    if warning.fault != fault.fault:
        return True
    by_machine = Provenance.APP not in warning.signature.provenance and Provenance.APP in fault.signature.provenance
    return by_machine and warning.first.first.order <= fault.first.first.order


def _says_itself(finding: Finding) -> bool:
    """Tell whether a finding is a program's own error that says what is wrong: no other program's trouble led to it."""
    return fault_classes()[finding.fault].layer is Layer.SOFTWARE
