"""Witnesses: the host that a finding is about where its own lines do not name it, or name another one.

Who reports a broken connection is mostly not who broke it; who cannot find a name is; who was told to stop has done
nothing. Other findings of the same failure then know better.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from diagnose.correlation.evidence import Finding
from diagnose.correlation.moments import Entry
from diagnose.correlation.warned import TWO_ENDED
from schemas.captures import Capture

BYSTANDERS: Final = frozenset({"slurm.node-failure", "launcher.torchrun-stopped"})
"""Signatures of lines that are said by who was ended because of somebody else, unless they name whom."""

MISSING: Final = frozenset({"c10d.store-clients-missing", "c10d.store-barrier-timeout", "c10d.rendezvous-timeout"})
"""Signatures that tell of hosts that never came, without their names."""


def own_host(entry: Entry, host_of: Mapping[int, str]) -> str | None:
    """Return the host that a line names, or else that it was written on."""
    signal = entry.signal
    named = signal.captures.get(Capture.HOST)
    if signal.fault == "comm.dns":
        return signal.host or named  # a name that one host does not find is no host that failed
    return named or signal.host or (host_of.get(signal.rank) if signal.rank is not None else None)


def other_host(
    finding: Finding,
    others: Sequence[Finding],
    host_of: Mapping[int, str],
    hosts: Collection[str],
    waited_for: Sequence[int] = (),
) -> str | None:
    """Return the host that is to blame rather than the one that a finding names, `None` where that one is.

    `hosts` are all of the job. `waited_for` are the ranks that the others waited for.
    """
    first = finding.first
    if finding.fault in TWO_ENDED and Capture.PEER in first.signal.captures:
        return _home(waited_for, host_of) or _far_end([finding, *others], hosts)
    if finding.signature.id in MISSING:
        return _never_came([finding, *others], hosts)
    if finding.signature.id in BYSTANDERS and Capture.HOST not in first.signal.captures:
        return _same(finding, others, host_of) or _spared(finding, hosts) or _died_first(others, host_of)
    if own_host(first, host_of) is None:
        return _same(finding, others, host_of) or _died_first(others, host_of)
    return None


def is_bystander(finding: Finding) -> bool:
    """Tell whether the host on which a finding was said is not to blame, whoever else is."""
    return finding.signature.id in BYSTANDERS and Capture.HOST not in finding.captures


def _home(ranks: Sequence[int], host_of: Mapping[int, str]) -> str | None:
    """Return the host that ranks share."""
    homes = {host_of.get(rank) for rank in ranks}
    return homes.pop() if len(homes) == 1 else None


def _spared(finding: Finding, hosts: Collection[str]) -> str | None:
    """Return the only host of a job that was not told to stop when all others were: it had ended before."""
    left = set(hosts) - set(finding.hosts)
    return left.pop() if len(left) == 1 and finding.signature.id == "launcher.torchrun-stopped" else None


def _far_end(findings: Iterable[Finding], hosts: Collection[str]) -> str | None:
    """Return the host whose link is said to be down, else the one at the far end that itself reports no other."""
    broken = [f for f in findings if f.fault in TWO_ENDED]
    for finding in broken:
        if Capture.PEER not in finding.captures and finding.fault == "comm.ib_link" and finding.first.signal.host:
            return finding.first.signal.host
    entries = [entry for finding in broken for entry in finding.entries]
    reporters = {entry.signal.host for entry in entries if Capture.PEER in entry.signal.captures}
    named = Counter(p for e in entries if (p := e.signal.captures.get(Capture.PEER)) in hosts and p not in reporters)
    return named.most_common(1)[0][0] if named else None


def _never_came(findings: Iterable[Finding], hosts: Collection[str]) -> str | None:
    """Return the only host of a job of which nothing was heard."""
    silent = set(hosts) - {host for finding in findings for host in finding.hosts}
    return silent.pop() if len(silent) == 1 else None


def _same(finding: Finding, others: Iterable[Finding], host_of: Mapping[int, str]) -> str | None:
    """Return the host that another finding of the same fault names first."""
    alike = [e for f in (finding, *others) if f.fault == finding.fault and not is_bystander(f) for e in f.entries]
    return _first_host(alike, host_of)


def _died_first(others: Iterable[Finding], host_of: Mapping[int, str]) -> str | None:
    """Return the host whose workers were the first that ended by themselves."""
    return _first_host([e for f in others if f.fault == "launcher.worker_exit" for e in f.entries], host_of)


def _first_host(entries: Iterable[Entry], host_of: Mapping[int, str]) -> str | None:
    found = ((entry.first.order, host) for entry in entries if (host := own_host(entry, host_of)) is not None)
    return min(found, default=(None, None))[1]
