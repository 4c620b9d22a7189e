"""Placement: on which host each rank of a job runs, and so which host a line is about that names a rank only.

A line tells its host itself, or its writer does: the file, or the label in front of it, of which other lines tell where
it runs. A label of `srun -l` is a rank where each rank is a task, and a host's number where each host has one agent.
"""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from diagnose.correlation.jobs import Job
from diagnose.correlation.whereabouts import expanded
from schemas.captures import Capture
from schemas.signal import Signal
from schemas.vocabulary import Kind

SIZES: Final = (8, 4, 16, 2, 6, 12, 1)
"""So many ranks a host may have, the usual first."""

_LABEL: Final = re.compile(r"[ ]{0,7}(\d{1,7}):(?: |$)")


@dataclass(frozen=True)
class Placed:
    """A job whose lines name hosts as far as it is known where they were written, and where each rank ran last.

    `hosts` are all that the job ran on, as far as somebody says so.
    """

    job: Job
    hosts: frozenset[str]
    host_of: Mapping[int, str]


def placed(job: Job) -> Placed:
    """Return a job with the hosts of its lines. What tells places only is not part of it any more."""
    hosts = _hosts(job)
    written = [_as_written(signal) for signal in job.signals]
    own = _Labels.of(written, hosts)
    labelled = [own.read(signal) for signal in written]
    ranks = _Stays.of(_ranks_told(labelled))
    ranks.fill(hosts)
    files = _files(labelled)
    signals = [_at(signal, ranks, files) for signal in labelled if signal.kind is not Kind.PLACE]
    sources = [s if s.host else s.model_copy(update={"host": files.get(s.source)}) for s in job.sources]
    everywhere = {*hosts, *ranks.last.values(), *(s.host for s in job.signals if s.host and Capture.POD in s.captures)}
    return Placed(replace(job, sources=sources, signals=signals), frozenset(everywhere), ranks.last)


def label(signal: Signal) -> int | None:
    """Return the number that a launcher put in front of a line, if it did."""
    found = _LABEL.match(signal.first.text)
    return int(found[1]) if found else None


def numbers(listed: str) -> tuple[int, ...]:
    """Return the numbers of a list such as `0-3,7`."""
    return tuple(int(number) for number in expanded(f"[{listed}]"))


@dataclass(frozen=True)
class _Labels:
    """What labels are: hosts' numbers in the sources `of_hosts`, and on which host each writer is that has one."""

    of_hosts: frozenset[str]
    host_of: Mapping[tuple[str, int], str]

    @classmethod
    def of(cls, signals: Sequence[Signal], hosts: Sequence[str]) -> "_Labels":
        found = [(number, signal) for signal in signals if (number := label(signal)) is not None]
        highest: dict[str, int] = defaultdict(int)
        gpus: dict[str, set[tuple[int, int]]] = defaultdict(set)
        same: Counter[str] = Counter()
        told: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        for number, signal in found:
            source = signal.source
            highest[source] = max(number, highest[source])
            for rank in _own_ranks(signal):
                same[source] += 1 if rank == number else -1
            if signal.gpu is not None:
                gpus[source].add((number, signal.gpu))
            if signal.host:
                told[source, number][signal.host] += 1
        of_hosts = {s for s, own in gpus.items() if len(own) > len({number for number, _ in own})}
        of_hosts |= {
            s for s in highest if same[s] < 0 or (not same[s] and s not in gpus and highest[s] + 1 == len(hosts))
        }
        host_of = {(s, n): host for s in of_hosts if highest[s] < len(hosts) for n, host in enumerate(hosts)}
        host_of |= {writer: own.most_common(1)[0][0] for writer, own in told.items()}
        return cls(frozenset(of_hosts), host_of)

    def read(self, signal: Signal) -> Signal:
        """Return a signal with the host of its label, and without a rank that is none."""
        number = label(signal)
        if number is None:
            return signal
        known: dict[str, object] = {}
        if signal.source in self.of_hosts and signal.rank == number and not _speaks_of(signal, number):
            ranks = [rank for rank in _own_ranks(signal) if rank != number]
            known["rank"] = ranks[0] if ranks and signal.kind is not Kind.PLACE else None
        if signal.host is None and (host := self.host_of.get((signal.source, number))):
            known["host"] = host
        return signal.model_copy(update=known) if known else signal


@dataclass
class _Stays:
    """Where ranks were, from when on (Unix, seconds), in order of time."""

    told: dict[int, list[tuple[float, str]]]

    @classmethod
    def of(cls, told: Iterable[tuple[int, float, str]]) -> "_Stays":
        stays: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for rank, time_s, host in sorted(told, key=lambda one: one[1:]):
            if not stays[rank] or stays[rank][-1][1] != host:
                stays[rank].append((time_s, host))
        return cls(dict(stays))

    def at(self, rank: int, time_s: float | None) -> str | None:
        """Return where a rank was at a time; without a time only what never changed is known."""
        stays = self.told.get(rank, [])
        if len(stays) <= 1 or time_s is None:
            return stays[0][1] if len(stays) == 1 else None
        return stays[max(0, bisect_right(stays, (time_s, chr(0x10FFFF))) - 1)][1]

    @property
    def last(self) -> dict[int, str]:
        """Return where each rank was last."""
        return {rank: stays[-1][1] for rank, stays in self.told.items()}

    def fill(self, hosts: Sequence[str]) -> None:
        """Add the ranks that are not told of: hosts hold blocks of ranks of one size, as launchers place them.

        Nothing is added where ranks have moved, or are not in blocks.
        """
        if any(len(stays) > 1 for stays in self.told.values()):
            return
        known = {rank: stays[0][1] for rank, stays in self.told.items()}
        for size in SIZES:
            blocks: dict[int, set[str]] = defaultdict(set)
            for rank, host in known.items():
                blocks[rank // size].add(host)
            homes = {block: next(iter(own)) for block, own in blocks.items() if len(own) == 1}
            if len(homes) == len(blocks) == len(set(homes.values())):
                if all(hosts[block : block + 1] == [host] for block, host in homes.items()):
                    homes = dict(enumerate(hosts))
                new = ((block * size + at, host) for block, host in homes.items() for at in range(size))
                self.told |= {rank: [(0.0, host)] for rank, host in new if rank not in known}
                return


def _as_written(signal: Signal) -> Signal:
    """Return a signal of a rank without a host that it only speaks of, such as the other end of a connection."""
    spoken_of = signal.kind is not Kind.PLACE and signal.host == signal.captures.get(Capture.HOST)
    if signal.host is None or not spoken_of or (signal.rank is None and label(signal) is None):
        return signal
    return signal.model_copy(update={"host": None})


def _hosts(job: Job) -> list[str]:
    """Return the hosts of a job in the order of its tasks, as the scheduler named them last; none if it does not."""
    ids = {s.job for s in job.sources if s.job} | {s.job for s in job.signals if s.job}
    told = [s for s in job.signals if s.kind is Kind.PLACE and Capture.JOB in s.captures]
    told = [s for s in told if s.captures[Capture.JOB] in ids] if ids else told
    if len({s.captures[Capture.JOB] for s in told}) != 1:
        return []
    listed = [(s.last.time_s or 0.0, n) for s in told if (n := s.captures.get(Capture.NODELIST))]
    if listed:
        return list(expanded(max(listed)[1]))
    return sorted({s.host for s in told if s.host}, key=lambda host: (len(host), host))


def _own_ranks(signal: Signal) -> Iterator[int]:
    """Yield the ranks that a line names as its own."""
    label_only = label(signal) == signal.rank
    if signal.rank is not None and not label_only:
        yield signal.rank
    told = signal.captures.get(Capture.RANK, "")
    if told.isdecimal() and len(told) < 8:
        yield int(told)
    elif label_only and signal.rank is not None and _speaks_of(signal, signal.rank):
        yield signal.rank


def _speaks_of(signal: Signal, rank: int) -> bool:
    """Tell whether a line names a rank, beside the number in front of it."""
    return f"[rank{rank}]" in signal.first.text.lower().replace("[rank ", "[rank")


def _ranks_told(signals: Sequence[Signal]) -> list[tuple[int, float, str]]:
    """Return ranks with their hosts, and when that was said (Unix, seconds; 0 where it is not known).

    What NCCL says of a rank outweighs the hosts of lines that only name it.
    """
    worlds = {int(w) for s in signals if (w := s.captures.get(Capture.WORLD, "")).isdecimal()}
    world = str(max(worlds, default=0))
    sure, other = list[tuple[int, float, str]](), list[tuple[int, float, str]]()
    for signal in signals:
        time_s = signal.first.time_s or 0.0
        if signal.host is None:
            continue
        if signal.kind is not Kind.PLACE and signal.rank is not None:
            other.append((signal.rank, time_s, signal.host))
        elif signal.kind is Kind.PLACE and signal.captures.get(Capture.WORLD) == world:
            sure += [(rank, time_s, signal.host) for rank in numbers(signal.captures.get(Capture.RANK, ""))]
    known = {rank for rank, _, _ in sure}
    return sure + [told for told in other if told[0] not in known]


def _files(signals: Iterable[Signal]) -> dict[str, str]:
    """Return the hosts of files whose lines about places all are of one host."""
    hosts: dict[str, set[str]] = defaultdict(set)
    for signal in signals:
        if signal.kind is Kind.PLACE and signal.host and not {Capture.POD, Capture.JOB} & set(signal.captures):
            hosts[signal.source].add(signal.host)
    return {source: next(iter(own)) for source, own in hosts.items() if len(own) == 1}


def _at(signal: Signal, ranks: _Stays, files: Mapping[str, str]) -> Signal:
    """Return a signal with the host on which its rank ran then, or all of its file was written."""
    if signal.host is not None:
        return signal
    host = ranks.at(signal.rank, signal.first.time_s) if signal.rank is not None else None
    if host is None and label(signal) is None:
        host = files.get(signal.source)
    return signal if host is None else signal.model_copy(update={"host": host})
