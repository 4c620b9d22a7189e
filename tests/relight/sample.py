"""Scan reports made up by hand for the tests of the reports. Every host, path, number and line in them is invented."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.incident import (
    Alternative,
    Attempt,
    Blamed,
    ContextLine,
    Evidence,
    Incident,
    Lane,
    Place,
    Problem,
    Progress,
    Role,
    Run,
    Scanned,
    ScanReport,
    Scope,
    Surprise,
    Symptom,
)
from schemas.vocabulary import Culprit, Domain, Impact, Outcome, Provenance, RetryOutlook, Severity

START: Final = datetime(2026, 3, 14, 20, 30, 5, tzinfo=UTC)
FELL: Final = datetime(2026, 3, 15, 3, 12, 1, tzinfo=UTC)
HOSTS: Final = tuple(f"node{n:02}" for n in range(64))
XID: Final = (
    "Mar 15 03:12:01 node17 kernel: [24113.912004] NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', "
    "name=<unknown>, GPU has fallen off the bus."
)


def full() -> ScanReport:
    """Return a scan that found everything: two failed runs, one failure that nothing explains, one degraded run."""
    runs = (pretrain(), finetune(), evaluate(), distill())
    incidents = (fell_off_bus(), out_of_memory(), unexplained(), straggler(), healed())
    return _report(runs, incidents, problems=True)


def single() -> ScanReport:
    """Return the ordinary scan: one run of 512 ranks and one cause."""
    return _report((pretrain(),), (fell_off_bus(),))


def succeeded() -> ScanReport:
    """Return a scan of three runs in which nothing broke."""
    return _report(tuple(_run(f"result_{n}", Outcome.SUCCEEDED, "reached its target accuracy") for n in range(3)), ())


def many() -> ScanReport:
    """Return a scan of ten runs of which seven failed of the same fault."""
    runs = tuple(
        _run(f"result_{n}", Outcome.SUCCEEDED if n % 3 == 1 else Outcome.FAILED, "see the log") for n in range(10)
    )
    failed = [run for run in runs if run.outcome is Outcome.FAILED]
    return _report(runs, tuple(_data_missing(run.id, n) for n, run in enumerate(failed)))


def place(source: str, line: int, text: str, time: datetime | None = None) -> Place:
    """Return a place whose byte offset is made up from its line."""
    return Place(source=source, line=line, offset_bytes=line * 97, text=text, time=time)


def pretrain() -> Run:
    """Return a run on 64 hosts with 8 GPUs each that fails in its second attempt."""
    step = place("node00.log", 91_244, "iteration 18420/ 90000 | lm loss: 2.1034E+00", FELL - timedelta(seconds=3))
    attempts = (
        Attempt(
            ordinal=1,
            outcome=Outcome.FAILED,
            reason="cancelled by the platform for maintenance",
            started=START - timedelta(hours=9),
            ended=START - timedelta(minutes=20),
        ),
        Attempt(
            ordinal=2,
            outcome=Outcome.FAILED,
            reason="every rank gave up after a collective timed out",
            started=START,
            ended=FELL + timedelta(minutes=11),
            progress=Progress(count=18_421, first=step, last=step, last_step=18_420),
        ),
    )
    return Run(
        id="pretrain",
        name="pretrain",
        outcome=Outcome.FAILED,
        reason="every rank gave up after a collective timed out",
        attempts=attempts,
        hosts=HOSTS,
        ranks=512,
        lanes=tuple(_lane(rank) for rank in range(512)),
    )


def _lane(rank: int) -> Lane:
    host = HOSTS[rank // 8]
    return Lane(
        source=f"{host}.log",
        host=host,
        rank=rank,
        started=START + timedelta(seconds=rank % 40),
        ended=FELL + timedelta(minutes=10, seconds=10 + rank % 9),
        progressed_from=START + timedelta(minutes=4),
        progressed_to=FELL - timedelta(seconds=3),
        lines=2_300 + rank,
    )


def fell_off_bus() -> Incident:
    """Return the incident of `pretrain`: one GPU is gone, and ten minutes later all others say so."""
    first = place("node17/kern.log", 8_841, XID, FELL)
    return _incident(
        id="0b6c1c5e",
        run="pretrain",
        attempt=2,
        fault="gpu.fallen_off_bus",
        signature="nvrm.xid",
        title="GPU fell off the PCIe bus (XID 79)",
        meaning="The driver lost contact with the GPU on PCIe: the card, its power or its slot has failed. "
        "It stays gone until the host is rebooted.",
        action="Take node17 out of the job and restart from the last checkpoint; reboot node17, and if the GPU falls "
        "off again within a day, have the card reseated or replaced.",
        playbook="restart_job_excluding_hosts then reboot_node",
        severity=Severity.CRITICAL,
        confidence=0.97,
        culprit=Blamed(
            kind=Culprit.GPU, name="GPU 0000:3b:00.0 on node17", host="node17", gpu="0000:3b:00.0", rank=139
        ),
        scope=Scope(hosts=HOSTS, ranks=tuple(range(512)), sources=65, summary="all 64 hosts and 512 ranks of the job"),
        domain=Domain.INFRASTRUCTURE,
        retry_outlook=RetryOutlook.MAY_RECOVER,
        first_cause=first,
        reasons=(
            "nothing earlier explains it",
            "it explains all 3 kinds of symptoms",
            "the collective that timed out began within 2 s of it",
        ),
        symptoms=_symptoms(),
        alternatives=_alternatives(),
        evidence=_evidence(first),
    )


NCCL: Final = place(
    "node03.log",
    1_204,
    "[rank24]:[E315 03:22:01.480113 ProcessGroupNCCL.cpp:616] [Rank 24] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=73801, OpType=ALLREDUCE, NumelIn=8388608, Timeout(ms)=600000) ran for 600012 milliseconds",
    FELL + timedelta(minutes=10),
)
CUDA: Final = place(
    "node17.log",
    1_377,
    "[rank139]: RuntimeError: CUDA error: unspecified launch failure",
    FELL + timedelta(seconds=1),
)
ELASTIC: Final = place(
    "node17.log",
    1_402,
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
    FELL + timedelta(minutes=10, seconds=9),
)


def _symptoms() -> tuple[Symptom, ...]:
    return (
        _symptom("comm.collective_timeout", "nccl.watchdog-timeout", "NCCL collective timeout", 1_022, NCCL),
        _symptom("cuda.illegal_access", "cuda.launch-failure", "CUDA launch failure", 1, CUDA),
        _symptom("launcher.worker_exit", "elastic.child-failed", "torchrun reports a dead worker", 64, ELASTIC),
    )


def _symptom(fault: str, signature: str, title: str, count: int, first: Place) -> Symptom:
    return Symptom(fault=fault, signature=signature, title=title, count=count, first=first)


def _alternatives() -> tuple[Alternative, ...]:
    return (
        Alternative(
            fault="gpu.pcie_error",
            signature="kernel.aer",
            title="PCIe link error",
            confidence=0.21,
            why_not="it was corrected 40 min earlier, and the run made progress after it",
            first_cause=place(
                "node17/kern.log", 8_702, "pcieport 0000:3a:00.0: AER: Corrected error", FELL - timedelta(minutes=40)
            ),
        ),
    )


def _evidence(first: Place) -> tuple[Evidence, ...]:
    around = ("audit: backlog limit exceeded", "EXT4-fs (nvme0n1p2): re-mounted", XID, "NVRM: GPU 0000:3b:00.0: lost")
    context = tuple(ContextLine(line=8_839 + n, text=text, evidence=n == 2) for n, text in enumerate(around))
    said_by = {"hosts": HOSTS, "ranks": tuple(rank for rank in range(512) if rank != 139)}
    return (
        _said("nvrm.xid", "gpu.fallen_off_bus", "GPU fell off the PCIe bus (XID 79)", Role.CAUSE, first, 2).model_copy(
            update={
                "hosts": ("node17",),
                "gpus": ("0000:3b:00.0",),
                "captures": {"pci": "0000:3b:00", "xid": "79"},
                "context": context,
            }
        ),
        _said(
            "nccl.watchdog-timeout", "comm.collective_timeout", "NCCL collective timeout", Role.SYMPTOM, NCCL, 1_022
        ).model_copy(update=said_by),
        _said("cuda.launch-failure", "cuda.illegal_access", "CUDA launch failure", Role.SYMPTOM, CUDA, 1).model_copy(
            update={"hosts": ("node17",), "ranks": (139,)}
        ),
        _said(
            "elastic.child-failed", "launcher.worker_exit", "torchrun reports a dead worker", Role.SYMPTOM, ELASTIC, 64
        ).model_copy(update={"hosts": HOSTS}),
    )


def _said(signature: str, fault: str, title: str, role: Role, first: Place, count: int) -> Evidence:
    return Evidence(
        signature=signature,
        title=title,
        fault=fault,
        severity=Severity.ERROR,
        role=role,
        count=count,
        first=first,
        last=first,
        provenance=Provenance.UNKNOWN,
    )


def finetune() -> Run:
    """Return a run of eight ranks on one host that fails."""
    return _run("finetune", Outcome.FAILED, "rank 3 ended with exit code 1", ranks=8)


def out_of_memory() -> Incident:
    """Return the incident of `finetune`: a rank found no GPU memory."""
    text = "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 3 has 1.1 GiB free."
    return _incident(
        id="5d20ae91",
        run="finetune",
        fault="cuda.out_of_memory",
        signature="torch.cuda-oom",
        title="CUDA out of memory",
        meaning="The allocator found no free block of the size that the next step needs.",
        action="Lower the micro-batch size or the sequence length, or turn on activation checkpointing.",
        playbook="notify",
        confidence=0.93,
        culprit=Blamed(kind=Culprit.RANK, name="rank 3 (node00)", host="node00", rank=3),
        domain=Domain.WORKLOAD,
        retry_outlook=RetryOutlook.CANNOT_RECOVER,
        first_cause=place("finetune.out", 4_410, text, START + timedelta(minutes=52)),
        provenance_verified=True,
    )


def evaluate() -> Run:
    """Return a run that fails of a cause that no signature knows."""
    return _run("evaluate", Outcome.FAILED, "exit code 134")


def unexplained() -> Incident:
    """Return the incident of `evaluate`: nothing explains it, three lines stand out."""
    lines = (
        ("fused_rope: plan cache inconsistent, slot <*> generation <*>", "only in this run, 2 s before its end", 0.94),
        ("terminate called without an active exception", "only in this run, the last line of rank 5", 0.88),
        ("dataset shard <*> reopened", "24 times on node05, never elsewhere", 0.52),
    )
    return _incident(
        id="77aa3f10",
        run="evaluate",
        fault="unknown",
        signature="unknown",
        title="Unknown failure",
        meaning="The run ended with exit code 134, and no signature of the catalogue matches what it said before.",
        action="Start from the lines that stand out; when you know the cause, add a signature for it.",
        playbook="collect_diagnostics then notify",
        confidence=0.3,
        culprit=Blamed(kind=Culprit.JOB, name="job evaluate"),
        domain=Domain.UNKNOWN,
        retry_outlook=RetryOutlook.UNKNOWN,
        first_cause=None,
        surprises=tuple(
            Surprise(
                template=template,
                why=why,
                score=score,
                place=place("evaluate.log", 3_300 + n, template.replace("<*>", "7"), START + timedelta(minutes=9)),
            )
            for n, (template, why, score) in enumerate(lines)
        ),
    )


def distill() -> Run:
    """Return a run that succeeds though one of its hosts is slow."""
    return _run("distill", Outcome.SUCCEEDED, "trained to step 5,000 and saved its last checkpoint", ranks=64)


def straggler() -> Incident:
    """Return the degraded incident of `distill`."""
    return _incident(
        id="9e014c77",
        run="distill",
        fault="training.straggler",
        signature="detector.straggler",
        title="Host holds back all others",
        impact=Impact.DEGRADED,
        confidence=0.74,
        culprit=Blamed(kind=Culprit.HOST, name="node44", host="node44"),
        first_cause=place("distill/node44.log", 512, "step 900 | step time 3.91 s", START + timedelta(minutes=31)),
        action="Compare clocks and temperatures of node44 with its peers.",
    )


def healed() -> Incident:
    """Return an incident of `distill` that did nothing to it."""
    return _incident(
        id="c3b1d2aa",
        run="distill",
        fault="software.download",
        signature="hub.retry",
        title="Hub download was retried",
        impact=Impact.NONE,
        first_cause=place("distill/node40.log", 40, "HTTP 503 from hub, retrying in 4 s", START),
    )


def _data_missing(run: str, n: int) -> Incident:
    text = "FileNotFoundError: [Errno 2] No such file or directory: '/data/train/shard-0001.tar'"
    return _incident(
        id=f"10ab000{n}",
        run=run,
        fault="software.missing_file",
        signature="python.file-not-found",
        title="A file or directory that the run needs is missing",
        confidence=0.88,
        culprit=Blamed(kind=Culprit.FILE, name="/data/train/shard-0001.tar", file="/data/train/shard-0001.tar"),
        first_cause=place(f"{run}.txt", 210 + n, text, START + timedelta(minutes=51, seconds=n)),
        retry_outlook=RetryOutlook.CANNOT_RECOVER,
        action="Check that /data is mounted on the host and that the path in the configuration is right.",
    )


def _incident(**fields: Any) -> Incident:
    plain: dict[str, Any] = {
        "impact": Impact.FAILED,
        "provenance_verified": False,
        "severity": Severity.ERROR,
        "confidence": 0.8,
        "meaning": "What it means is not important here.",
        "action": "Nothing needs to be done.",
        "playbook": "notify",
        "culprit": Blamed(kind=Culprit.JOB, name=f"job {fields['run']}"),
        "scope": Scope(summary=f"run {fields['run']} alone"),
        "domain": Domain.INFRASTRUCTURE,
        "retry_outlook": RetryOutlook.MAY_RECOVER,
    }
    return Incident(**(plain | fields))


def _run(name: str, outcome: Outcome, reason: str, ranks: int = 8) -> Run:
    ended = START + timedelta(hours=1)
    step = place(f"{name}.log", 900, "step 900", START + timedelta(minutes=50))
    progress = Progress(count=900, first=step, last=step, last_step=900)
    attempt = Attempt(ordinal=1, outcome=outcome, reason=reason, started=START, ended=ended, progress=progress)
    lanes = tuple(
        Lane(
            source=f"{name}.log",
            host=f"node{rank // 8:02}",
            rank=rank,
            started=START,
            ended=ended,
            progressed_from=START + timedelta(minutes=2),
            progressed_to=START + timedelta(minutes=50),
            lines=900,
        )
        for rank in range(ranks)
    )
    hosts = tuple(sorted({lane.host for lane in lanes if lane.host}))
    return Run(
        id=name, name=name, outcome=outcome, reason=reason, attempts=(attempt,), hosts=hosts, ranks=ranks, lanes=lanes
    )


def _report(runs: tuple[Run, ...], incidents: tuple[Incident, ...], *, problems: bool = False) -> ScanReport:
    scanned = Scanned(
        sources=65,
        lines=1_204_113,
        bytes=211_482_904,
        skipped=(Problem(path="checkpoints/step-18000.pt", reason="binary"),) if problems else (),
        problems=(Problem(path="node31.log.gz", reason="truncated after 4.1 MB"),) if problems else (),
    )
    return ScanReport(relight="0.1.0", runs=runs, incidents=incidents, scanned=scanned, signatures=412)
