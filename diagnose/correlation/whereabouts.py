"""Whereabouts: which host is meant by a name: that of a pod, an address, a list of hosts, or no host at all.

What is learned here holds for all jobs of a cluster. Which rank runs where is a job's own matter (`placement`).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from schemas.captures import Capture
from schemas.signal import Signal, SourceRead
from schemas.vocabulary import Kind

HOSTS: Final = 4096
"""A list of hosts names no more than these; what claims to is not read."""

_NOWHERE: Final = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "(null)", "none", "unknown"})
_LISTED: Final = re.compile(r"([^,\[\]]*)(?:\[([\d,-]*)\])?(?:,|$)")
_PORT: Final = re.compile(r"(?:<\d*>|:\d+)$")
_BY_ADDRESS: Final = re.compile(r"ip-(\d{1,3}(?:-\d{1,3}){3})$")
"""Hosts that are named by their addresses, as EC2 does."""

_CHAIN: Final = 3
"""An address may be a pod's, and the pod is on a node."""


@dataclass(frozen=True)
class Whereabouts:
    """What is known of names: `names` stand for another host, and `files` are a host's by the name of their folder."""

    names: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def host(self, name: str | None) -> str | None:
        """Return the host that a name stands for, `None` where it stands for none or for several."""
        for _ in range(_CHAIN):
            if name is None or name not in self.names:
                break
            name = self.names[name]
        return None if name is None or _is_nowhere(name) or "[" in name or "," in name else name

    def peer(self, name: str) -> str | None:
        """Return the host of the other end of a connection, given with its port; `None` where it is not known."""
        bare = _PORT.sub("", name)
        host = self.host(bare)
        return None if host is None or (host == bare and _is_address(bare)) else host

    def of(self, signal: Signal) -> Signal:
        """Return a signal with the hosts that its names stand for."""
        told, peer = signal.captures.get(Capture.HOST), signal.captures.get(Capture.PEER)
        file = self.files.get(signal.source)
        spoken_of = signal.host == told and signal.kind is not Kind.PLACE  # the file's host is the one that speaks
        host = file if file and spoken_of else self.host(told_host(signal)) or file
        known = {Capture.HOST.value: self.host(told), Capture.PEER.value: self.peer(peer) if peer else None}
        known = {name: value or (peer if name == Capture.PEER else None) for name, value in known.items()}
        captures = {k: v for k, v in (signal.captures | known).items() if v is not None}
        if host == signal.host and captures == signal.captures:
            return signal
        return signal.model_copy(update={"host": host, "captures": captures})

    def at(self, source: SourceRead) -> SourceRead:
        """Return a source with the host that its name stands for."""
        host = self.host(source.host) or self.files.get(source.source)
        return source if host == source.host else source.model_copy(update={"host": host})


def whereabouts(sources: Iterable[SourceRead], signals: Iterable[Signal]) -> Whereabouts:
    """Return what lines tell of the hosts that pods, addresses and names of files stand for."""
    read, said = list(sources), list(signals)
    named = {source.source: source.host for source in read if source.host}
    told: dict[str, dict[str, tuple[float, str]]] = {}
    spoken: dict[str, set[str]] = defaultdict(set)
    for signal in said:
        host = told_host(signal) if signal.kind is Kind.PLACE else None
        if not host or _is_nowhere(host):
            continue
        for name in _stands_for(signal):
            told.setdefault(name, {})[host] = (signal.last.time_s or 0.0, host)
        if signal.source in named and Capture.POD not in signal.captures:
            spoken[named[signal.source]].add(host)
    names = {name: max(hosts.values())[1] for name, hosts in told.items()}
    for name, hosts in spoken.items():
        if len(hosts) == 1 and name not in hosts:
            names.setdefault(name, next(iter(hosts)))
    listed = {s.host for s in said if s.host} | {s.captures.get(Capture.NODELIST, "") for s in said}
    hosts = {host for one in listed for host in expanded(one)} | set(named.values())
    for host in hosts:
        if (by_address := _BY_ADDRESS.match(host)) is not None:
            names.setdefault(by_address[1].replace("-", "."), host)
    files = {s.source: host for s in read if not s.host for host in _named_in(s.path) if host in hosts}
    return Whereabouts({name: host for name, host in names.items() if name != host}, files)


def told_host(signal: Signal) -> str | None:
    """Return the host that a line is about: of one that tells a place the one that it names, not who says so."""
    return (signal.captures.get(Capture.HOST) if signal.kind is Kind.PLACE else None) or signal.host


def expanded(listed: str) -> tuple[str, ...]:
    """Return the hosts of a list as Slurm writes it, in its order: `node[003-005,009]` are four.

    What is no list is a host itself; a list that names too many, or is none, gives nothing.
    """
    hosts: list[str] = []
    for stem, ends in _LISTED.findall(listed):
        hosts += (stem + number for number in _numbers(ends)) if ends else filter(None, (stem,))
        if len(hosts) > HOSTS:
            return ()
    return tuple(hosts)


def _numbers(ends: str) -> Iterator[str]:
    """Yield the numbers of `003-005,009`, their zeros kept."""
    for end in ends.split(","):
        first, _, last = end.partition("-")
        if first.isdigit() and (last or first).isdigit() and 0 <= int(last or first) - int(first) <= HOSTS:
            yield from (str(n).zfill(len(first)) for n in range(int(first), int(last or first) + 1))


def _named_in(path: Iterable[str]) -> Iterator[str]:
    """Yield what may be hosts in names of folders and files, behind the name of a daemon or not."""
    for part in path:
        stem = part.partition(".")[0]
        yield from (stem.partition("-")[2], stem, part)


def _stands_for(signal: Signal) -> Iterator[str]:
    """Yield the names that a line says stand for its host."""
    if pod := signal.captures.get(Capture.POD):
        yield pod
        yield pod.rpartition("/")[2]
    if address := signal.captures.get(Capture.ADDRESS):
        yield address


@lru_cache(maxsize=16 * HOSTS)
def _is_nowhere(name: str) -> bool:
    if name.lower() in _NOWHERE:
        return True
    return _is_address(name) and (ip_address(name).is_unspecified or ip_address(name).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
