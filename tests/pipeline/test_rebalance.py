"""Processes that come and go share the work, and the incidents are those of one process that nobody disturbed."""

import pytest
from cluster import Cluster, write
from fleet import Fleet, incidents, until
from fold import folded, gist
from lines import beats, interleaved
from stories import FAILED, told

from diagnose.matching.scanner import Scanner
from relight.topics import SIGNALS
from relight.transports.murmur2 import partition_of
from relight.transports.opening import open_log
from relight.transports.port import Outgoing

CLUSTERS = ("alpha", "beta", "gamma", "delta")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Outgoing]:
    """What the shippers of four clusters send, in which something different breaks."""
    found: list[list[Outgoing]] = []
    for number, (name, story) in enumerate(zip(CLUSTERS, sorted(FAILED), strict=False)):
        folder = tmp_path_factory.mktemp(name) / "logs"
        write(told(FAILED[story], Cluster(seed=number, hosts=3)).lines, folder)
        found.append(interleaved(folder, name, seed=number))
    longest = max(map(len, found))
    return [own[at] for at in range(longest) for own in found if at < len(own)]


def test_the_clusters_of_this_test_are_not_all_in_one_partition() -> None:
    assert len({partition_of(name.encode(), 3) for name in CLUSTERS}) > 1


def test_a_rebalance_in_the_middle_leaves_no_trace(fleet: Fleet, lines: list[Outgoing], scanner: Scanner) -> None:
    third = len(lines) // 3
    with open_log(fleet.settings) as log:
        for number in (1, 2):
            fleet.start(f"match-{number}", "diagnose", "match")
            fleet.start(f"correlate-{number}", "diagnose", "correlate")
            log.append(lines[third * (number - 1) : third * number])
            until(lambda: sum(span.end for span in log.spans(SIGNALS).values()) > 10)
        for name in ("match-1", "correlate-1"):
            assert fleet.stop(name)[0] == 0
        log.append(lines[third * 2 :])
        wanted = {name: gist(cluster.incidents.values()) for name, cluster in folded(scanner, lines).items()}
        everything = sorted(one for own in wanted.values() for one in own)
        hours = iter(range(2, 1000))

        def at_rest() -> bool:
            log.append(beats(lines, later_ms=next(hours) * 3_600_000))
            return gist(incidents(log).values()) == everything

        until(at_rest)
        assert gist(incidents(log).values()) == everything
    assert fleet.call("replay").returncode == 0
