"""When NCCL and c10d speak: at the start, when a collective times out, and when a peer is gone."""

from dataclasses import dataclass
from random import Random
from typing import Any, Final

from relight.sim.cluster import Cluster
from relight.sim.jobs import Job, Rank
from relight.sim.tape import Mark, Tape
from relight.sim.templates import loaded, message
from relight.sim.words import Moment

_OPS: Final = (
    ("ALLREDUCE", 4_194_304, 4_194_304),
    ("_ALLGATHER_BASE", 13_107_200, 104_857_600),
    ("_REDUCE_SCATTER_BASE", 104_857_600, 13_107_200),
    ("BROADCAST", 1, 1),
    ("ALLREDUCE", 1, 1),
)
_TALKATIVE: Final = 64
"""Jobs with more ranks have `NCCL_DEBUG=WARN` set."""
_STAMPED: Final = "2.21"
"""Since this version NCCL's warnings have a time, and no longer a file's name."""


@dataclass(frozen=True)
class Voice:
    """A rank through which c10d speaks."""

    tape: Tape
    job: Job
    rank: Rank

    @property
    def name(self) -> str:
        """Return the rank as c10d names it."""
        return f"[Rank {self.rank.number}]"

    @property
    def group(self) -> str:
        """Return the process group and the rank, as c10d names them."""
        return self.name if self.job.torch == "old" else f"[PG ID 0 PG GUID 0(default_pg) Rank {self.rank.number}]"

    def error(self, time_s: float, line: int, text: str, mark: Mark | None = None) -> None:
        """Add an error line of c10d."""
        head = f"[E ProcessGroupNCCL.cpp:{line}]"
        if self.job.torch == "new":
            moment = Moment(time_s + self.rank.host.skew_s)
            head = f"[rank{self.rank.number}]:[E{moment:c10d} ProcessGroupNCCL.cpp:{line}]"
        self.tape.app(time_s, self.job, self.rank, f"{head} {text}", mark)


class Collective:
    """The collective that ranks wait in: the same for all of them."""

    def __init__(self, rng: Random, job: Job) -> None:
        """Draw its operation and number."""
        self.op, self.numel_in, self.numel_out = rng.choice(_OPS)
        self.seq = rng.randrange(2_000, 900_000)
        self.timeout_ms = job.timeout_s * 1000

    def words(self) -> dict[str, Any]:
        """Return the words about it."""
        return vars(self)


def tag(rank: Rank) -> str:
    """Return the head of NCCL's lines."""
    return f"{rank.host.name}:{rank.pid}:{rank.pid + 611} [{rank.local}] NCCL"


def warning_head(job: Job, rank: Rank, time_s: float) -> str:
    """Return the head of NCCL's warnings, as the job's version writes it."""
    stamp = f"[{Moment(time_s + rank.host.skew_s):iso}] " if job.nccl >= _STAMPED else ""
    return f"{stamp}{tag(rank)} WARN"


def initialised(tape: Tape, rng: Random, cluster: Cluster, job: Job) -> None:
    """Add what NCCL says as its communicators are made."""
    comm, link = rng.getrandbits(60), "IB" if cluster.fabric == "infiniband" else "RoCE"
    devices = " ".join(f"[{n}]mlx5_{n}:1/{link}" for n in range(8))
    for rank in job.ranks:
        time_s = job.start_s + job.init_s * rng.uniform(0.25, 0.35)
        if rank.number == 0:
            tape.app(time_s, job, rank, f"NCCL version {job.nccl}+cuda12.4")
        if job.world > _TALKATIVE:
            continue
        words = {
            "ip": rank.host.ip,
            "devices": devices,
            "comm": f"{comm + rank.number:x}",
            "id": f"{comm:x}",
            "rank": rank.number,
            "world": job.world,
            "local": rank.local,
            "bus": rank.host.gpu_buses[rank.local],
            "next": (rank.number + 1) % job.world,
            "last": rank.number - 1,
        }
        for number, template in enumerate(loaded("messages")["nccl_init"]):
            tape.app(time_s + number * 0.3, job, rank, f"{tag(rank)} INFO {template.format(**words)}")


def timed_out(tape: Tape, rng: Random, job: Job, rank: Rank, began_s: float, coll: Collective) -> float:
    """Add what a rank says whose collective has not finished since `began_s`. Returns when its process aborts."""
    took_ms = coll.timeout_ms + rng.randint(3, 950)
    time_s, voice = began_s + took_ms / 1000, Voice(tape, job, rank)
    why = f"{voice.name} {message('timeout', took_ms=took_ms, **coll.words())}"
    voice.error(time_s, 632, why)
    if job.torch == "new":
        works = {"enqueued": coll.seq + rng.randint(0, 6), "completed": coll.seq - 1}
        voice.error(time_s + 0.001, 2271, f"{voice.group} {message('status', seq=coll.seq, **works)}")
        voice.error(time_s + 0.002, 670, message("no_trace"))
        voice.error(time_s + 0.4, 1746, f"{voice.group} {message('dump', whose='this local rank', **works)}")
    taken_down(voice, time_s + 1.2, why)
    return time_s + 1.6


def dump_seen(tape: Tape, job: Job, rank: Rank, time_s: float, coll: Collective, source: Rank) -> None:
    """Add what a rank says that did not arrive at the collective, but sees that others have given up."""
    if job.torch == "new":
        voice = Voice(tape, job, rank)
        voice.error(time_s, 1682, f"{voice.group} {message('observed')}")
        works = {"enqueued": coll.seq - 1, "completed": coll.seq - 1}
        voice.error(time_s + 0.1, 1746, f"{voice.group} {message('dump', whose=f' rank {source.number}', **works)}")


def taken_down(voice: Voice, time_s: float, why: str) -> None:
    """Add what the watchdog says as it takes a process down."""
    prefix = "" if voice.job.torch == "old" else f"{voice.name} "
    voice.error(time_s, 684, prefix + message("corrupted"))
    voice.error(time_s + 0.001, 690, prefix + message("down"))
    body = message("ended", group=voice.group, why=why, a=f"{voice.rank.pid % 4096:03x}") + "\n"
    voice.error(time_s + 0.01, 1896, body)
    voice.tape.app(time_s + 0.02, voice.job, voice.rank, message("terminate", body=body))


def peer_gone(tape: Tape, rng: Random, cluster: Cluster, job: Job, rank: Rank, peer: Rank, time_s: float) -> float:
    """Add what a rank says whose neighbour in the ring is gone. Returns when its process aborts.

    Over InfiniBand and RoCE the send queue runs into `IBV_WC_RETRY_EXC_ERR` (12); over sockets the peer has closed.
    """
    words = {"ip": rank.host.ip, "peer_ip": peer.host.ip, "peer": peer.host.name, "port": rng.randrange(33_000, 60_000)}
    if rng.random() < 0.75:
        gids = message("gids", **words) if cluster.fabric == "roce" else ""
        detail, where = message("completion", gids=gids, local=rank.local, **words), "net_ib.cc:1895"
    else:
        detail, where = message("closed", **words), "misc/socket.cc:58"
    remote_error(Voice(tape, job, rank), time_s, where, detail)
    return time_s + 2.0


def remote_error(voice: Voice, time_s: float, where: str, detail: str, mark: Mark | None = None) -> None:
    """Add a warning of NCCL, behind an empty line, that ends its communicator, and what c10d says about it."""
    job, rank = voice.job, voice.rank
    head = warning_head(job, rank, time_s) + ("" if job.nccl >= _STAMPED else f" {where}")
    below = Mark(mark.incident, 1, mark.heal) if mark else None
    voice.tape.app(time_s, job, rank, f"\n{head} {detail}", below)
    voice.tape.app(time_s + 0.01, job, rank, f"{tag(rank)} INFO transport/net.cc:1163 -> 6")
    why = message("remote", nccl=job.nccl, detail=detail)
    voice.error(time_s + 0.3, 577, message("async", rank=rank.number, why=why))
    taken_down(voice, time_s + 0.6, f"{voice.name} {why}")


def store_gone(tape: Tape, rng: Random, job: Job, rank: Rank, time_s: float) -> None:
    """Add what a rank's heartbeat monitor says when the host with the store is gone."""
    if job.torch == "new":
        words = {
            "now": Moment(time_s + rank.host.skew_s),
            "rank": rank.number,
            "host": rank.host.name,
            "master": job.hosts[0].name,
            "port": rng.randrange(33_000, 60_000),
        }
        tape.app(time_s, job, rank, message("store_closed", **words))
        tape.app(time_s + 0.01, job, rank, message("store_unheard", **words))
