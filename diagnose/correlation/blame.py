"""Blame: the culprit of a finding, named by what survives a reboot, and the scope of a fault."""

from collections.abc import Iterable, Mapping, Sequence

from diagnose.correlation.evidence import Finding
from schemas.captures import Capture
from schemas.incident import Blamed, Scope
from schemas.vocabulary import Culprit


def culprit(finding: Finding, host_of: Mapping[int, str], world: Sequence[int]) -> Blamed:
    """Return who is to blame: the sort of thing that the signature blames, as exactly as its evidence tells."""
    signal, told = finding.first.signal, finding.captures
    if finding.fault == "comm.collective_timeout":
        return _absent(_missing(finding, world), host_of)
    rank = signal.rank
    host = told.get(Capture.HOST) or signal.host or (host_of.get(rank) if rank is not None else None)
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


def _absent(rank: int | None, host_of: Mapping[int, str]) -> Blamed:
    """Return the rank for which the others waited: where it ran is known from elsewhere, not from who waited."""
    if rank is None:
        return Blamed(kind=Culprit.JOB, name="the job")
    host = host_of.get(rank)
    blamed = Blamed(kind=Culprit.RANK, name="", host=host, rank=rank)
    return blamed.model_copy(update={"name": _named(blamed)})


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


def _missing(finding: Finding, world: Sequence[int]) -> int | None:
    """Return the one rank that did not time out while all others did: the one that did not arrive."""
    if named := [int(r) for r in finding.captures.get(Capture.RANKS, "").replace(",", " ").split() if r.isdigit()]:
        return named[0]
    absent = sorted(set(world) - set(finding.ranks))
    return absent[0] if absent and len(absent) * 2 < len(world) else None


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
