"""Blame: the culprit of a finding, named by what survives a reboot, and the scope of a fault."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from diagnose.correlation.evidence import Finding
from diagnose.correlation.witnesses import is_bystander, other_host, own_host
from schemas.captures import Capture
from schemas.incident import Blamed, Scope
from schemas.vocabulary import Culprit

COMPARED: Final = frozenset({"flight-recorder.mismatch", "stacks.main-thread"})
"""Signatures that are about the ranks that differ from the others: all of them are the culprit."""

ODD: Final = "nccl.version-mismatch"
"""The signature whose lines name a rank that differs from the one that says so, with the versions of both."""

_WAITED: Final = frozenset({"training.hang", "launcher.worker_exit"})
"""What happens to those who wait in vain: where it is known for whom, they are to blame."""

_VERSIONS: Final = ((Capture.RANKS, Capture.VERSION), (Capture.OTHER_RANK, Capture.OTHER_VERSION))

_NAMED: Final = 8
"""So many ranks are named; of more it is said how many."""


def culprit(
    finding: Finding,
    host_of: Mapping[int, str],
    waited_for: Sequence[int],
    others: Sequence[Finding] = (),
    hosts: Collection[str] = (),
) -> Blamed:
    """Return who is to blame: the sort of thing that the signature blames, as exactly as its evidence tells.

    Where ranks waited in vain, those are that they waited for, `waited_for` unless a line names them. `others` are the
    other findings of the failure, `hosts` all hosts of the job.
    """
    signal, told = finding.first.signal, finding.captures
    if finding.fault == "comm.collective_timeout" or (finding.fault in _WAITED and waited_for):
        return _ranks(_missing(finding) or waited_for, host_of)
    if finding.signature.id == ODD and (odd := _odd(finding)):
        return _ranks(odd, host_of)
    if len(finding.ranks) > 1 and finding.signature.id in COMPARED:
        return _ranks(finding.ranks, host_of)
    if (elsewhere := other_host(finding, others, host_of, hosts, waited_for)) is not None:
        return Blamed(kind=Culprit.HOST, name=f"host {elsewhere}", host=elsewhere)
    rank, host = signal.rank, None if is_bystander(finding) else own_host(finding.first, host_of)
    gpu = (
        told.get(Capture.GPU_UUID)
        or told.get(Capture.PCI)
        or told.get(Capture.GPU)
        or (str(signal.gpu) if signal.gpu is not None else None)
    )
    blamed = Blamed(
        kind=_kind(finding, gpu, rank, host, told),
        name="",
        host=host,
        gpu=gpu,
        rank=rank,
        nic=told.get(Capture.NIC),
        file=told.get(Capture.FILE),
    )
    return blamed.model_copy(update={"name": _named(blamed)})


def _ranks(ranks: Sequence[int], host_of: Mapping[int, str]) -> Blamed:
    """Return ranks as the culprit, their host if they share one, the job if there are none.

    Where they ran is known from elsewhere, not from who waited for them.
    """
    if not ranks:
        return Blamed(kind=Culprit.JOB, name="the job")
    hosts = {host_of.get(rank) for rank in ranks}
    host = hosts.pop() if len(hosts) == 1 else None
    kind = Culprit.HOST if host is not None and len(ranks) > 1 else Culprit.RANK
    return Blamed(kind=kind, name=placed(ranks, host_of), host=host, rank=ranks[0] if len(ranks) == 1 else None)


def placed(ranks: Sequence[int], host_of: Mapping[int, str]) -> str:
    """Return ranks in words, with their hosts as far as they are known: `ranks 12 and 13 on node03`."""
    hosts = list(dict.fromkeys(host_of[rank] for rank in ranks if rank in host_of))
    where = f" on {_listed(hosts, 'hosts')}" if hosts and all(rank in host_of for rank in ranks) else ""
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {_listed([str(rank) for rank in ranks], 'in all')}{where}"


def _listed(names: Sequence[str], word: str) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[: _NAMED - 1])} and more, {len(names)} {word}"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def scope(findings: Iterable[Finding]) -> Scope:
    """Return how far a fault and what follows from it reach."""
    seen = list(findings)
    hosts = tuple(sorted({host for f in seen for host in f.hosts}))
    ranks = tuple(sorted({rank for f in seen for rank in f.ranks}))
    sources = len({entry.signal.source for f in seen for entry in f.entries})
    parts = [_many(len(ranks), "rank"), _many(len(hosts), "host")]
    return Scope(
        hosts=hosts,
        ranks=ranks,
        sources=sources,
        summary=" on ".join(part for part in parts if part) or _many(sources, "source"),
    )


def _missing(finding: Finding) -> list[int]:
    """Return the ranks that a line names as those for which the others waited, or that differ from them."""
    return sorted({int(r) for r in finding.captures.get(Capture.RANKS, "").replace(",", " ").split() if r.isdecimal()})


def _odd(finding: Finding) -> list[int]:
    """Return the ranks with the version that the fewest have, by all that lines say; of two that differ not rank 0."""
    told = [entry.signal.captures for entry in finding.entries]
    pairs = {(t[rank], t[version]) for t in told for rank, version in _VERSIONS if rank in t and version in t}
    ranks: dict[str, set[int]] = defaultdict(set)
    for rank, version in pairs:
        if rank.isdecimal():
            ranks[version].add(int(rank))
    return sorted(min(ranks.values(), key=lambda own: (len(own), -max(own)), default=()))


def _kind(finding: Finding, gpu: str | None, rank: int | None, host: str | None, told: Mapping[str, str]) -> Culprit:
    """Return the sort of thing that is blamed, or the next larger thing where the evidence does not name it."""
    wanted = finding.signature.blamed
    known = {
        Culprit.GPU: gpu,
        Culprit.NIC: told.get(Capture.NIC),
        Culprit.RANK: rank,
        Culprit.FILE: told.get(Capture.FILE),
        Culprit.HOST: host,
    }
    larger = {Culprit.GPU: Culprit.HOST, Culprit.NIC: Culprit.HOST, Culprit.RANK: Culprit.HOST}
    while wanted is not Culprit.JOB and known[wanted] is None:
        wanted = larger.get(wanted, Culprit.JOB)
    return wanted


def _named(blamed: Blamed) -> str:
    where = f" on {blamed.host}" if blamed.host else ""
    match blamed.kind:
        case Culprit.GPU:
            return f"GPU {blamed.gpu}{where}"
        case Culprit.NIC:
            return f"NIC {blamed.nic}{where}"
        case Culprit.RANK:
            return f"rank {blamed.rank}{where}"
        case Culprit.FILE:
            return f"{blamed.file}{where}"
        case Culprit.HOST:
            return f"host {blamed.host}"
        case Culprit.JOB:
            return "the job"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}" if count else ""
