"""Two clusters in one log: their hosts and jobs have the same names, and each is correlated for itself."""

from pathlib import Path

from cluster import Cluster, write
from fleet import events, incidents, until
from fold import folded, gist
from lines import beats, interleaved
from stories import FAILED, told
from threads import correlate, match, running

from diagnose.correlation.evidence import Resolve
from diagnose.matching.scanner import Scanner
from relight.topics import INCIDENTS, SIGNALS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import EventLog, Outgoing
from schemas.signal import Tick

NAMES = ("a", "b")


def shipped(tmp_path: Path) -> dict[str, list[Outgoing]]:
    """Return what each cluster's shippers send: the same hosts, job and paths, and another failure."""
    found = {}
    for name, story in zip(NAMES, sorted(FAILED), strict=False):
        folder = tmp_path / "logs"
        written = write(told(FAILED[story], Cluster(seed=3, hosts=3)).lines, folder)
        found[name] = interleaved(written, name, seed=1)
        folder.rename(tmp_path / name)
    return found


def gists(log: EventLog) -> dict[str, list[tuple[str, ...]]]:
    """Return what matters of each cluster's incidents."""
    owners = {e.subject: e.cluster for e in events(log, INCIDENTS) if e.type.writer == "correlate"}
    known = incidents(log)
    return {name: gist(i for one, i in known.items() if owners[one] == name) for name in NAMES}


def test_two_clusters_in_the_same_partitions_have_each_its_own_incidents(
    tmp_path: Path, scanner: Scanner, resolve: Resolve
) -> None:
    own = shipped(tmp_path)
    hosts = [{record.key for record in records} for records in own.values()]
    assert hosts[0] & hosts[1], "the test is worth nothing if no source of one is called as one of the other"
    alone = {name: gist(folded(scanner, records)[name].incidents.values()) for name, records in own.items()}
    assert alone["a"] != alone["b"]
    longest = max(map(len, own.values()))
    mixed = [records[at] for at in range(longest) for records in own.values() if at < len(records)]
    hours = iter(range(2, 1000))
    with EmbeddedLog(tmp_path / "relight.db", durable=False) as log:
        log.create(specs(log_partitions=1, cluster_partitions=1))
        with running(log, match(log, scanner, resolve)), running(log, correlate(log, resolve)):
            log.append(mixed)

            def at_rest() -> bool:
                later_ms = next(hours) * 3_600_000
                for records in own.values():
                    log.append(beats(records, later_ms))
                return gists(log) == alone

            until(at_rest, 30)
        assert gists(log) == alone
        for name in NAMES:
            numbers = [e.data.number for e in events(log, SIGNALS) if isinstance(e.data, Tick) and e.cluster == name]
            assert numbers == list(range(1, len(numbers) + 1)), f"the ticks of {name} are not its own"
