"""Where lines go: the files that a site has, and what each line looks like in them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from relight.sim import kubernetes
from relight.sim.tape import Entry, Kind
from relight.sim.words import Moment

Drawn = tuple[str, list[str]]
"""A file, and the lines that an entry becomes in it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a site keeps its logs. `scheduler` is the one whose sites do it so."""

    name: str
    scheduler: str
    draw: Callable[[Entry], Drawn | None]


def _moment(entry: Entry) -> Moment:
    return Moment(entry.time_s + (entry.host.skew_s if entry.host else 0.0))


def _rfc3164(entry: Entry) -> list[str]:
    assert entry.host is not None
    clock = f"[{entry.time_s - entry.host.booted_s:12.6f}] " if entry.kind is Kind.KERNEL else ""
    head = f"{_moment(entry):syslog} {entry.host.name} {_tagged(entry)}: {clock}"
    return [head + line for line in entry.text.split("\n")]


def _iso(entry: Entry) -> list[str]:
    assert entry.host is not None
    moment = _moment(entry)
    head = f"{moment:slurm}.{moment:us}+00:00 {entry.host.name} {_tagged(entry)}: "
    return [head + line for line in entry.text.split("\n")]


def _dmesg(entry: Entry) -> list[str]:
    return [f"[{_moment(entry):dmesg}] {line}" for line in entry.text.split("\n")]


def _journal(entry: Entry) -> list[str]:
    assert entry.host is not None
    micros = int((entry.time_s + entry.host.skew_s) * 1e6)
    kernel = entry.kind is Kind.KERNEL
    told = {
        "__REALTIME_TIMESTAMP": str(micros),
        "_HOSTNAME": entry.host.name,
        "_TRANSPORT": "kernel" if kernel else "syslog",
        "SYSLOG_FACILITY": "0" if kernel else "3",
        "SYSLOG_IDENTIFIER": entry.tag or "systemd",
        "PRIORITY": str(entry.level),
    }
    return [json.dumps(told | {"MESSAGE": line}, separators=(",", ":")) for line in entry.text.split("\n")]


def _tagged(entry: Entry) -> str:
    """Return the tag with a process's number, which the kernel has none of."""
    assert entry.host is not None
    if entry.kind is Kind.KERNEL:
        return "kernel"
    number = 1 if entry.tag == "systemd" else 900 + sum(map(ord, entry.tag)) * 7 + entry.host.index
    return f"{entry.tag}[{number}]"


def _plain(entry: Entry) -> list[str]:
    return entry.text.split("\n")


def _labelled(entry: Entry) -> list[str]:
    """Return lines with the label of `srun -l`: the number of the task."""
    assert entry.job is not None
    assert entry.host is not None
    if entry.rank is not None and entry.job.launcher == "srun":
        task, last = entry.rank.number, entry.job.world - 1
    else:
        task, last = entry.host.index - entry.job.hosts[0].index, len(entry.job.hosts) - 1
    return [f"{task:>{len(str(last))}}: {line}" for line in entry.text.split("\n")]


def _cri(entry: Entry) -> list[str]:
    assert entry.host is not None
    stream = "stdout" if entry.kind is Kind.APP and entry.rank is entry.job.speaker else "stderr"  # type: ignore[union-attr]
    return [f"{_moment(entry):cri} {stream} F {line}" for line in entry.text.split("\n")]


def _by_host(entry: Entry) -> Drawn | None:
    """One directory for each host, all its ranks in one file; the controller's log beside them."""
    host = entry.host.name if entry.host else ""
    return {
        Kind.KERNEL: lambda: (f"{host}/kern.log", _rfc3164(entry)),
        Kind.SYSTEM: lambda: (f"{host}/syslog", _rfc3164(entry)),
        Kind.APP: lambda: (f"{host}/train.log", _plain(entry)),
        Kind.LAUNCHER: lambda: (f"{host}/train.log", _plain(entry)),
        Kind.SLURMD: lambda: (f"{host}/slurmd.log", _plain(entry)),
        Kind.FABRIC: lambda: (f"{host}/fabricmanager.log", _plain(entry)),
        **_common(entry),
    }[entry.kind]()


def _by_rank(entry: Entry) -> Drawn | None:
    """One file for each rank and agent below the job; dmesg and syslog collected by host."""
    host, job = entry.host.name if entry.host else "", entry.job.id if entry.job else ""
    rank = entry.rank.number if entry.rank else 0
    return {
        Kind.KERNEL: lambda: (f"dmesg/{host}.dmesg", _dmesg(entry)),
        Kind.SYSTEM: lambda: (f"syslog/{host}.log", _rfc3164(entry)),
        Kind.APP: lambda: (f"job-{job}/rank_{rank}.log", _plain(entry)),
        Kind.LAUNCHER: lambda: (f"job-{job}/agents/{host}.log", _plain(entry)),
        Kind.SLURMD: lambda: (f"slurmd/{host}.log", _plain(entry)),
        Kind.FABRIC: lambda: (f"fabricmanager/{host}.log", _plain(entry)),
        **_common(entry, f"job-{job}/"),
    }[entry.kind]()


def _one_output(entry: Entry) -> Drawn | None:
    """All that a job prints in one file, labelled by `srun -l`; one syslog for each host."""
    host, job = entry.host.name if entry.host else "", entry.job.id if entry.job else ""
    return {
        Kind.KERNEL: lambda: (f"syslog/{host}.log", _iso(entry)),
        Kind.SYSTEM: lambda: (f"syslog/{host}.log", _iso(entry)),
        Kind.APP: lambda: (f"slurm-{job}.out", _labelled(entry)),
        Kind.LAUNCHER: lambda: (f"slurm-{job}.out", _labelled(entry)),
        Kind.SLURMD: lambda: (f"slurmd/slurmd-{host}.log", _plain(entry)),
        Kind.FABRIC: lambda: (f"fabricmanager/{host}.log", _plain(entry)),
        **_common(entry),
    }[entry.kind]()


def _pods(entry: Entry) -> Drawn | None:
    """Kubernetes: the container's log of each pod, the journal of each node, and the cluster's events."""
    host = entry.host.name if entry.host else ""

    def pod() -> Drawn:
        assert entry.job is not None
        assert entry.host is not None
        return f"pods/training_{kubernetes.pod(entry.job, entry.host)}/pytorch/0.log", _cri(entry)

    return {
        Kind.KERNEL: lambda: (f"journal/{host}.jsonl", _journal(entry)),
        Kind.SYSTEM: lambda: (f"journal/{host}.jsonl", _journal(entry)),
        Kind.APP: pod,
        Kind.LAUNCHER: pod,
        Kind.SLURMD: lambda: None,
        Kind.FABRIC: lambda: (f"fabricmanager/{host}.log", _plain(entry)),
        **_common(entry),
    }[entry.kind]()


def _common(entry: Entry, folder: str = "") -> Mapping[Kind, Callable[[], Drawn | None]]:
    job = entry.job.id if entry.job else ""
    return {
        Kind.BATCH: lambda: (f"{folder}slurm-{job}.out", _plain(entry)),
        Kind.CONTROLLER: lambda: ("slurmctld.log", _plain(entry)),
        Kind.SUBNET: lambda: ("opensm.log", _plain(entry)),
        Kind.EVENTS: lambda: ("events.jsonl", _plain(entry)),
    }


LAYOUTS: Final = {
    layout.name: layout
    for layout in (
        Layout("by-host", "slurm", _by_host),
        Layout("by-rank", "slurm", _by_rank),
        Layout("one-output", "slurm", _one_output),
        Layout("pods", "kubernetes", _pods),
    )
}
"""All layouts by name."""
