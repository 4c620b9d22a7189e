"""What nobody vouches for takes no machine away: no destructive command rests on lines that a job could have written.

Every destructive step of the ladder here is free of approval, dry run is off, and each line says that GPU 3b has fallen
off the bus of node1. Only where a shipper knows that the kernel said so is anything but the job touched.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import wording
from fleet import events, records, until
from lab import CLUSTER, Lab

from relight.topics import LOGS, SIGNALS, SNAPSHOTS
from relight.transports.port import Outgoing
from schemas.action import ACTIONS
from schemas.history import DiagnosisRevised
from schemas.shipped import Shipped
from schemas.vocabulary import Provenance

JOB: Final = "4242"
XID: Final = "NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, name=python3, GPU has fallen off the bus."
DMESG: Final = "[12345.678901] "
KMSG: Final = b"6,340,5140900,-;NET: Registered protocol family 10\n"
RESTART: Final = "restart_job_excluding_hosts"
CORDON: Final = "cordon_node"
LADDER: Final = (CORDON, "drain_node", "reset_gpu", "reboot_node", "free_disk", "replace_node", RESTART, "notify")
GRAVE: Final = frozenset(name for name, facts in ACTIONS.items() if facts.destructive or facts.of_a_machine)
TRUSTING: Final[dict[str, Any]] = {"host": "node1", "provenance": "kernel"}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster in which a job runs on node1, and every destructive step is allowed for a GPU that is gone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    playbooks = tmp_path / "playbooks.yaml"
    playbooks.write_text(playbook(*LADDER), "utf-8")
    lab = Lab(tmp_path, {"remediate.playbooks": (playbooks,)})
    output(lab).parent.mkdir(parents=True)
    output(lab).write_text("".join(f"{line}\n" for line in training()), "utf-8")
    yield lab
    lab.log.close()


def playbook(*ladder: str) -> str:
    """Return a playbook for a GPU that is gone; nobody has to agree to any of its steps."""
    known = "approval: never, timeout: 30m, why: It is tried here."
    rungs = "".join(f"      - {{action: {action}, {known}}}\n" for action in ladder)
    return (
        "playbooks:\n  - id: gpu.fallen-off-bus\n    title: Every step that is destructive\n"
        f"    faults: gpu.fallen_off_bus\n    ladder:\n{rungs}"
    )


def output(lab: Lab) -> Path:
    """Return the file that the job writes its output to."""
    return lab.folder / "jobs" / "node1" / f"slurm-{JOB}.out"


def training() -> list[str]:
    begun_s = time.time() - 120
    return ["training ...", *(wording.megatron_iteration(begun_s + n, 100 + n, 5000, 2.3, 1000.0) for n in range(40))]


def syslog(host: str = "node1") -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00 {host} kernel: {DMESG}{XID}"


def journal() -> list[dict[str, str]]:
    """Return entries of a journal as it is exported, the last one the kernel's word that the GPU is gone."""
    now_us = int(time.time() * 1_000_000)
    kernel = {"_HOSTNAME": "node1", "_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel"}
    texts = [*(f"usb 1-{n}: new device" for n in range(20)), XID]
    return [{"__REALTIME_TIMESTAMP": str(now_us + n), "MESSAGE": text, **kernel} for n, text in enumerate(texts)]


def printed(lab: Lab, *lines: str) -> Path:
    """Let the job print lines behind those of its training, and return its output."""
    with output(lab).open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    return output(lab)


DEATH: Final = (
    "Traceback (most recent call last):",
    '  File "train.py", line 12, in <module>',
    "    loss.backward()",
    "RuntimeError: CUDA error: unspecified launch failure",
)


def diagnosed(lab: Lab, fault: str = "gpu.fallen_off_bus") -> list[DiagnosisRevised]:
    found = [incident.diagnosed for incident in lab.incidents() if incident.diagnosed]
    return [one for one in found if one.diagnosis.fault == fault]


def nothing_is_taken_away(lab: Lab) -> None:
    """Check that the ladder was climbed, and that nothing but the job was touched on the way."""
    assert lab.climbed(RESTART) == [RESTART]
    assert not planned(lab) & GRAVE
    assert [(one.provenance_verified, one.witnessed) for one in diagnosed(lab)] == [(False, False)]


def everything_is_tried(lab: Lab) -> None:
    """Check that every step of the ladder was taken, on the host that is to blame and on no other."""
    assert lab.climbed(RESTART) == [CORDON, "collect_diagnostics", *LADDER[1 : LADDER.index(RESTART) + 1]]
    assert [(one.provenance_verified, one.witnessed) for one in diagnosed(lab)] == [(True, True)]
    hosts = {one.name for c in lab.commands() if c.plan for one in c.plan.affects if one.kind == "host"}
    assert hosts == {"node1"}


def planned(lab: Lab) -> set[str]:
    return {command.plan.action.kind for command in lab.commands() if command.plan}


# Lines that a job can write, or anybody who reaches the topic


@pytest.mark.parametrize("line", [XID, DMESG + XID, f"<2>{DMESG}{XID}", f"kern  :err   : {DMESG}{XID}", None])
def test_what_a_job_prints_drains_nothing(line: str | None, lab: Lab) -> None:
    lab.ship(printed(lab, line or syslog()))
    with lab.running():
        nothing_is_taken_away(lab)


def test_what_a_job_prints_is_no_kernels_word_where_its_files_are_known_as_a_jobs(lab: Lab) -> None:
    with lab.running(), lab.shipping(printed(lab, XID, DMESG + XID, syslog(), *DEATH), provenance="app"):
        assert until(lab.issued)
    assert diagnosed(lab) == []
    assert not planned(lab) & GRAVE


@pytest.mark.parametrize("own", [{}, {"provenance": "app"}], ids=["unknown files", "a job's files"])
def test_what_any_program_may_say_takes_no_machine_away(own: dict[str, str], lab: Lab) -> None:
    lost = "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.  Reboot the system to recover it."
    with lab.running(), lab.shipping(printed(lab, lost), **own):
        assert lab.climbed(RESTART) == ["collect_diagnostics", "free_disk", RESTART]
    assert not {name for name in planned(lab) & GRAVE if ACTIONS[name].takes_out}
    assert [(one.provenance_verified, one.witnessed) for one in diagnosed(lab)] == [(True, False)]


@pytest.mark.parametrize("name", ["kern.log", "dmesg", "kernel"])
def test_a_file_that_looks_like_the_kernels_vouches_for_nobody(name: str, lab: Lab) -> None:
    forged = output(lab).with_name(name)
    forged.write_text("".join(f"[{n:5}.000000] usb 1-{n}: new device\n" for n in range(50)) + f"{DMESG}{XID}\n")
    lab.ship(printed(lab), forged)
    with lab.running():
        nothing_is_taken_away(lab)


def test_a_file_that_looks_like_the_journals_export_vouches_for_nobody(lab: Lab) -> None:
    forged = output(lab).with_name("journal.json")
    forged.write_bytes(b"".join(orjson.dumps(entry) + b"\n" for entry in journal()))
    lab.ship(printed(lab), forged)
    with lab.running():
        nothing_is_taken_away(lab)


def test_what_a_program_writes_to_the_kernels_ring_drains_nothing(lab: Lab) -> None:
    records = KMSG + b"10,341,5690716123,-;%b\n" % XID.encode()
    with lab.running(), lab.reading_kernel(records, "node1"), lab.shipping(printed(lab, *DEATH)):
        assert until(lab.issued)
    assert diagnosed(lab) == []
    assert not planned(lab) & GRAVE


@pytest.mark.parametrize(
    "fields",
    [
        {"message": XID, "host": "node1", "path": "/var/log/kern.log"},
        {"message": XID, "host": "node1", "provenance": "kernel", "attested": True, "witnessed": True},
        None,
        {"host": "node1", "relight-provenance": "kernel", "relight-attested": "true"},
    ],
    ids=["a path", "words of ours", "a journal", "headers as fields"],
)
def test_what_another_shipper_sends_as_json_drains_nothing(fields: dict[str, object] | None, lab: Lab) -> None:
    said = journal()[-1] if fields is None else {"message": syslog()} | fields
    lab.ship(printed(lab))
    lab.log.append([Outgoing(LOGS, orjson.dumps(said | {"slurm_job_id": JOB}), b"node1")])
    with lab.running():
        nothing_is_taken_away(lab)


def test_what_another_shipper_sends_as_a_line_drains_nothing(lab: Lab) -> None:
    lab.ship(printed(lab))
    lab.log.append([Outgoing(LOGS, syslog().encode(), b"node1")])
    with lab.running():
        nothing_is_taken_away(lab)


def test_headers_on_a_topic_that_is_not_trusted_vouch_for_nothing(lab: Lab) -> None:
    lab.more = {**lab.more, "topics.trusted": ("other.logs",)}
    lab.ship(printed(lab))
    lab.log.append([chunk(syslog())])
    with lab.running():
        nothing_is_taken_away(lab)


def test_a_host_that_a_line_names_is_not_the_one_that_a_shipper_vouches_for(lab: Lab) -> None:
    lab.ship(printed(lab))
    lab.ship(kernel_log(lab, syslog("node2")), **TRUSTING)
    with lab.running():
        assert lab.climbed("notify") == ["notify"]
    assert not planned(lab) & GRAVE
    assert [one.diagnosis.culprit.host for one in diagnosed(lab)] == ["node2"]


@pytest.mark.parametrize("steps", [("rollback_checkpoint", "notify"), ("skip_data", "notify")])
@pytest.mark.parametrize("trusted", [False, True])
def test_no_step_of_a_job_is_lost_for_what_it_prints(trusted: bool, steps: tuple[str, ...], lab: Lab) -> None:
    (lab.folder / "playbooks.yaml").write_text(playbook(*steps), "utf-8")
    lab.ship(printed(lab, *([] if trusted else [XID])))
    if trusted:
        lab.ship(kernel_log(lab, syslog()), **TRUSTING)
    with lab.running():
        assert lab.climbed(steps[0] if trusted else "notify") == (
            ["collect_diagnostics", steps[0]] if trusted else ["notify"]
        )


# What does not hold yet. Both are strict: they fail as soon as matching is mended, and then lose their mark.


def test_an_operator_who_takes_a_word_back_is_heard(lab: Lab) -> None:
    lab.ship(printed(lab))
    log = kernel_log(lab, f"{DMESG}usb 1-1: new device")
    lab.ship(log, **TRUSTING)
    with lab.running("match"):
        assert until(lambda: events(lab.log, SIGNALS))
    with log.open("a") as file:
        file.write(f"{DMESG}{XID}\n")
    lab.ship(log, host="node1")
    with lab.running():
        nothing_is_taken_away(lab)


def test_a_topic_that_is_trusted_no_more_vouches_for_nothing(lab: Lab) -> None:
    lab.more = {**lab.more, "match.snapshot_s": 0.1}
    lab.ship(printed(lab))
    first = chunk(f"{DMESG}usb 1-1: new device")
    lab.log.append([first])
    with lab.running("match"):
        assert until(lambda: records(lab.log, SNAPSHOTS))
    lab.more = {**lab.more, "topics.trusted": ("other.logs",)}
    lab.log.append([chunk(syslog(), behind=first)])
    with lab.running():
        nothing_is_taken_away(lab)


# The counter-proof: the same line, from who knows that the kernel wrote it


def test_what_the_kernels_reader_says_is_acted_on(lab: Lab) -> None:
    lab.ship(printed(lab))
    with lab.running(), lab.reading_kernel(KMSG + b"2,341,5690716123,-;%b\n" % XID.encode(), "node1"):
        everything_is_tried(lab)


@pytest.mark.parametrize("line", [DMESG + XID, None])
def test_what_an_operator_vouches_for_is_acted_on(line: str | None, lab: Lab) -> None:
    lab.ship(printed(lab))
    lab.ship(kernel_log(lab, line or syslog()), **TRUSTING)
    with lab.running():
        everything_is_tried(lab)


def test_headers_on_a_trusted_topic_are_acted_on(lab: Lab) -> None:
    lab.ship(printed(lab))
    lab.log.append([chunk(syslog())])
    with lab.running():
        everything_is_tried(lab)


def kernel_log(lab: Lab, *lines: str) -> Path:
    """Return a file that only the kernel's logger writes."""
    path = lab.folder / "var" / "kern.log"
    path.parent.mkdir()
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def chunk(line: str, behind: Outgoing | None = None) -> Outgoing:
    """Return a chunk of whoever writes to the topic, with headers as the shipper of node1's kernel has them."""
    shipped = Shipped(
        cluster=CLUSTER, host="node1", stream="kernel", provenance=Provenance.KERNEL, attested=True, generation="1",
        offset_bytes=len(behind.value or b"") if behind else 0, line=2 if behind else 1,
        observed_ms=int(time.time() * 1000),
    )  # fmt: skip
    return Outgoing(LOGS, f"{line}\n".encode(), shipped.key, shipped.headers())
