"""A failure that nothing explains, twice on a living cluster: one kind, a rule made of it, and the third is known."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from fleet import until
from lab import CLUSTER, Lab

from relight.cli import main
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import LineQuery, Query

BEGIN = datetime(2026, 5, 12, 3, 0, tzinfo=UTC)
ODD = (
    "prefetch: shard {n} of /data/web/part-00{n}.tar has checksum 0x9f{n}, wanted 0x77aa",
    "feeder of the loader gives up after {n} tries",
    "loader: nothing to feed, leaving the loop",
)
EXITED = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, {"index.lines": "all", "remediate.dry_run": True})
    with made.running("match", "correlate", "remediate", "index"):
        yield made
    made.log.close()


def training(number: int) -> str:
    """Return what a job writes: half an hour of steps, then what it dies of."""
    begin = BEGIN + timedelta(hours=number)
    said = ["INFO:torch.distributed.launcher.api:Starting elastic_operator with launch configs:"]
    said += [f"step {10 * n}/9000 | loss 2.{n} | lr 1.0e-04" for n in range(1, 60)]
    said += [line.format(n=110 + number) for line in ODD]
    lines = [*said, EXITED]
    return "".join(f"{begin + timedelta(seconds=30 * n):%Y-%m-%d %H:%M:%S} {line}\n" for n, line in enumerate(lines))


def fails(lab: Lab, number: int) -> None:
    """Let a job fail on a host of its own, and wait until the store has it."""
    log = lab.folder / f"job{number}" / "train.log"
    log.parent.mkdir()
    log.write_text(training(number))
    lab.ship(log, job=str(number), host=f"node{number:02}")

    def told() -> bool:
        with EmbeddedStore(lab.folder / "relight.db", durable=False) as store:
            kept = store.lines(LineQuery(hosts=(f"node{number:02}",), text="ChildFailedError"))
            return bool(kept) and len([d for d in store.search(Query()).documents if d.history.diagnosed]) >= number

    assert until(told)


def relight(lab: Lab, *words: str) -> Result:
    flags = ("--embedded", str(lab.folder / "relight.db"), "--cluster", CLUSTER)
    return CliRunner().invoke(main, [*words, *flags], env={"RELIGHT_CONFIG": ""}, catch_exceptions=False)


def test_it_is_recognised_named_and_explained_from_then_on(lab: Lab) -> None:
    fails(lab, 1)
    fails(lab, 2)
    (kind,) = json.loads(relight(lab, "incidents", "unknown", "--format", "json").stdout)["kinds"]
    assert kind["seen_as"] == {"launcher.worker_exit": 2}
    assert len(kind["incidents"]) == 2
    assert any("gives up after 11" in line["text"] for line in kind["lines"])
    rule = lab.folder / "rule.yaml"
    done = relight(
        lab, "learn", "storage.shard-checksum", "--from", kind["kind"], "--fault", "storage.io_error", "-o", str(rule)
    )
    assert done.exit_code == 0, done.output
    assert len(yaml.safe_load(rule.read_text())["signatures"][0]["match"]) == 2
    third = lab.folder / "third.log"
    third.write_text(training(3))
    scanned = CliRunner().invoke(main, ["scan", str(third), "--rules", str(rule), "-f", "json"])
    assert json.loads(scanned.stdout)["incidents"][0]["signature"] == "storage.shard-checksum"
