"""From a line in a file to an incident on a topic, through real processes, on both logs."""

import shutil
import signal
import urllib.request
from pathlib import Path

import pytest
from fleet import Fleet, events, incidents, records, until

from relight.topics import DEADLETTERS, INCIDENTS, LOGS, SIGNALS
from relight.transports.opening import open_log
from tests.servers.process import free_ports

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-run" / "logs"


def lost_gpu(fleet: Fleet, *, patience_s: float = 60) -> list[str]:
    """Return the causes of the incidents that are settled, when there are any."""

    def look() -> list[str]:
        with open_log(fleet.settings) as log:
            found = incidents(log).values()
        return [i.diagnosed.diagnosis.culprit.name for i in found if i.settled and i.diagnosed]

    found: list[str] = until(look, patience_s)
    return found


def test_lines_in_files_become_an_incident_and_a_replay_gives_the_same_bytes(fleet: Fleet, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(EXAMPLE, logs)
    fleet.start("ship", "ship", logs, "--cluster", "lab")
    fleet.start("match", "diagnose", "match")
    fleet.start("correlate", "diagnose", "correlate")
    assert lost_gpu(fleet) == ["GPU 0000:3b:00 on node03"], fleet.said("correlate")
    for name in ("ship", "match", "correlate"):
        status, took_s = fleet.stop(name)
        assert (status, took_s < 5) == (0, True), f"{name} ended with {status} after {took_s:.1f} s"
    with open_log(fleet.settings) as log:
        (incident,) = incidents(log).values()
        assert incident.opened is not None
        assert incident.opened.run == "job 48211"
        assert {event.cluster for event in events(log, INCIDENTS)} == {"lab"}
        assert records(log, DEADLETTERS) == []
        ids = [event.id for topic in (SIGNALS, INCIDENTS) for event in events(log, topic)]
        assert len(ids) == len(set(ids)), "an event was said twice"
    replay = fleet.call("replay")
    assert "have the same bytes" in replay.stdout, replay.stdout + replay.stderr
    assert replay.returncode == 0


def test_a_rule_that_is_tried_on_old_lines_says_what_would_be_diagnosed_otherwise(fleet: Fleet, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(EXAMPLE, logs)
    assert fleet.call("ship", logs, "--once").returncode == 0
    own = tmp_path / "own.yaml"
    own.write_text(
        """
signatures:
  - id: nvrm.xid
    title: Own reading of an Xid
    from: [kernel]
    severity: critical
    fault: gpu.ecc_uncorrectable
    pattern: 'NVRM: Xid \\(PCI:(?P<pci>[0-9a-fA-F:.]+)\\): 79'
    identity: [pci]
    decisive: true
    meaning: It is read otherwise here.
    action: Look at it otherwise.
    source: https://example.com/xid
    match: ["NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus."]
    not_match: ["NVRM: Xid (PCI:0000:3b:00): 13, pid=1"]
"""
    )
    tried = fleet.call("replay", "--rules", own)
    assert tried.returncode == 1, tried.stderr
    assert "was nvrm.xid.79" in tried.stdout
    assert "; it would be " in tried.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_stages_in_one_process_need_nothing_else(number: signal.Signals, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    fleet = Fleet(("--embedded", str(tmp_path / "own" / "relight.db")), state)
    logs = tmp_path / "logs"
    shutil.copytree(EXAMPLE, logs)
    fleet.start("run", "run", logs)
    try:
        until(lambda: (tmp_path / "own" / "relight.db").exists())
        assert lost_gpu(fleet) == ["GPU 0000:3b:00 on node03"], fleet.said("run")
        fleet.running["run"].send_signal(number)
        assert fleet.running.pop("run").wait(timeout=5) == 0
    finally:
        fleet.close()


def test_a_stage_without_its_topics_says_what_to_do_and_ends(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    fleet = Fleet(("--embedded", str(tmp_path / "relight.db")), state)
    for command in (("diagnose", "match"), ("diagnose", "correlate"), ("ship", tmp_path)):
        ended = fleet.call(*command)
        assert ended.returncode == 2, ended.stderr
        assert "`relight setup` creates it" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_running_stage_tells_prometheus_and_probes_how_it_is(fleet: Fleet, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(EXAMPLE, logs)
    ports = dict(zip(("match", "correlate"), free_ports(2), strict=True))
    for name, port in ports.items():
        fleet.start(name, "diagnose", name, "--metrics-port", str(port))
    assert fleet.call("ship", logs, "--once").returncode == 0
    assert lost_gpu(fleet) == ["GPU 0000:3b:00 on node03"]
    told = {name: asked(f"http://127.0.0.1:{port}/metrics") for name, port in ports.items()}
    assert number(told["match"], 'relight_records_consumed_total{stage="match",topic="relight.logs"}') >= 9
    assert number(told["match"], 'relight_end_to_end_delay_seconds_count{stage="match"}') >= 1
    assert number(told["match"], 'relight_transaction_seconds_count{stage="match"}') >= 1
    assert number(told["correlate"], 'relight_incident_events_total{event="incident.opened",stage="correlate"}') == 1
    assert '"healthy":true' in asked(f"http://127.0.0.1:{ports['match']}/healthz")


def test_two_shippers_do_not_share_their_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    fleet = Fleet(("--embedded", str(tmp_path / "relight.db")), state)
    assert fleet.call("setup").returncode == 0
    log = tmp_path / "a.log"
    log.write_text("a line without an end")
    fleet.start("ship", "ship", log)
    try:
        until(lambda: "started" in fleet.said("ship") and (state / "relight" / "ship.lock").exists())
        second = fleet.call("ship", log)
        assert second.returncode == 2
        assert "ship.state_path" in second.stderr
        assert fleet.stop("ship")[0] == 0
    finally:
        fleet.close()
    assert fleet.call("ship", log, "--once").returncode == 0
    with open_log(fleet.settings) as kept:
        assert b"".join(record.value or b"" for record in records(kept, LOGS)) == b"a line without an end"


def asked(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - it is ours
        return str(answer.read().decode())


def number(metrics: str, name: str) -> float:
    (line,) = [line for line in metrics.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])
