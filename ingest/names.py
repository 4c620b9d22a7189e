"""Reads host, rank, GPU, job and attempt from the names of directories and files. A name never says who wrote a line.

A component is cut at dots, underscores and equals signs, for a host's name holds hyphens and nothing else of these.
What cannot be told for a host stays unread: `result_0`, `run_3`, `checkpoint-100`.
"""

from functools import reduce
from itertools import pairwise
from typing import Final

from ingest.formats.kubernetes import job_of_pod
from ingest.formats.linear import compiled
from ingest.formats.recogniser import NOTHING
from schemas.record import Origin

_SLURM: Final = compiled(rb"(?:.*[^a-z])?slurm-(\d{1,12}(?:_\d{1,9})?)(?:$|[-_.])")
_ADDRESS: Final = compiled(rb"(?:.*[_=@])?(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?:$|[_:@-]|\.[a-z])")
_HOST: Final = compiled(
    rb"(?:[a-z0-9]+-)*(?:node|host|gpu|dgx|hgx|worker|master|server|compute|hpc|nid|cn|ip|vm|instance)"
    rb"(?:\d{1,8}|-(?:[a-z0-9]+-)*[a-uw-z]?\d[a-z0-9-]*)"
)
_MODEL: Final = compiled(rb"(?:^|-)(?:[abhlv]\d{2,3}|g[bh]\d{3})(?:-|$)")
_FULL: Final = compiled(
    rb"[a-z0-9-]+(?:\.[a-z0-9-]+)*"
    rb"\.(?:com|org|net|edu|gov|io|ai|local|internal|lan|localdomain|cluster|cloud|corp|hpc|de|uk|fr|ch|nl|jp|cn)"
)
_ENDING: Final = compiled(
    rb"(?:[.-](?:log|txt|out|err|gz|zst|xz|bz2|json|jsonl|old|stdout|stderr|20\d\d-?\d\d-?\d\d)|\.\d{1,3})+$"
)
_BEGINNING: Final = compiled(
    rb"^(?:dmesg|kern|kernel|syslog|messages|journal|journalctl|stdout|stderr|console|log|nvidia-bug-report"
    rb"|slurmd|slurmctld|kubelet|fabricmanager|slurm-\d+)[-.]"
)

_POD_FOLDER: Final = compiled(rb"[a-z0-9-]{1,63}_([a-z0-9.-]{1,253})(?:_[0-9a-f-]{4,36})?")

_JOB_KEYS: Final = frozenset(("job", "jobid", "slurmjob", "slurmjobid"))
_ATTEMPT_KEYS: Final = frozenset(("attempt", "restart", "retry"))
_RANKS_OF_OTHERS: Final = frozenset(("local", "node", "group", "role", "tp", "pp", "dp", "ep", "cp"))
_HOST_KEYS: Final = frozenset(("host", "hostname", "node", "nodename"))
_GPUS_A_HOST: Final = 16
_DIGITS: Final = "0123456789"


def origin_of(path: tuple[str, ...]) -> Origin:
    """Return what a path's components tell, directories first: the file's own name has the last word."""
    return reduce(lambda outer, name: _component(name[:256]).over(outer), path, NOTHING)


def _component(name: str) -> Origin:
    """Return what one directory's or file's name tells."""
    rank = gpu = job = attempt = None
    before = ""
    for key, number in _words(name):
        prefix, _, word = key.rpartition("-")
        if not number:
            pass
        elif word == "rank" and (prefix.rpartition("-")[2] or before) not in _RANKS_OF_OTHERS:
            rank = int(number)
        elif key == "gpu" and _is_index(number):
            gpu = int(number)
        elif word in _JOB_KEYS:
            job = number
        elif word in _ATTEMPT_KEYS:
            attempt = str(int(number))
        before = "" if number else word
    slurm = _SLURM.match(name.lower().encode())
    pod = _POD_FOLDER.fullmatch(name.lower().encode())
    job = slurm[1].decode() if slurm else job or (job_of_pod(pod[1].decode()) if pod else None)
    return Origin(host=_host(name), rank=rank, gpu=gpu, job=job, attempt=attempt)


def _words(name: str) -> list[tuple[str, str]]:
    """Return the words of a name, each with the number behind it, which may be a part of its own; `""` without one.

    `log_node12_rank_96` has the words `log`, `node` with 12, and `rank` with 96.
    """
    parts = _parts(name.lower())
    words = []
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        word = part.rstrip(_DIGITS)
        number = part[len(word) :] or (following if not following.strip(_DIGITS) else "")
        if word:
            words.append((word.rstrip("-"), number if len(number) < 13 else ""))
    return words


def _parts(name: str) -> list[str]:
    return name.replace("=", "_").replace(".", "_").split("_")


def _is_index(number: str) -> bool:
    """Say whether a number counts the GPUs of one host; `gpu-04` and `gpu117` are hosts."""
    return str(int(number)) == number and int(number) < _GPUS_A_HOST


def _host(name: str) -> str | None:
    """Return the host that a name holds: an address, a full name, or a part that is named as hosts are."""
    address = _ADDRESS.match(name.lower().encode())
    if address and all(int(octet) < 256 for octet in address[1].split(b".")):
        return address[1].decode()
    pieces = [_bare(piece) for piece in name.replace("=", "_").split("_")]
    found = [piece for piece in pieces if _is_full(piece)]
    found += [part for part in map(_bare, _parts(name)) if _is_host(part)]
    return found[0] if found else _numbered(name)


def _bare(piece: str) -> str:
    """Return a name without what says which log it is: `dmesg-gpu-04.log` is `gpu-04`."""
    raw = piece.encode("utf-8", "replace")
    return _BEGINNING.sub(b"", _ENDING.sub(b"", raw)).decode("utf-8", "replace")


def _is_full(piece: str) -> bool:
    return piece.count(".") > 1 and any(map(str.isdigit, piece)) and bool(_FULL.fullmatch(piece.lower().encode()))


def _is_host(part: str) -> bool:
    """Say whether a part is named as hosts are; `gpu3` is a GPU, and the `h100` of `dgx-h100` is no number."""
    lower = part.lower()
    if lower.startswith("gpu"):
        number = lower[3:].removeprefix("-")
        if number.isdecimal() and _is_index(number):
            return False
    return bool(_HOST.fullmatch(_MODEL.sub(b"-", lower.encode()).strip(b"-")))


def _numbered(name: str) -> str | None:
    """Return the host of `host_gpu-04`, and of `node_12`, which has no better name."""
    parts = _parts(name)
    for key, value in pairwise(parts):
        if key.lower() in _HOST_KEYS and value and value[-1] in _DIGITS and value.isascii():
            return f"{key}_{value}" if value.isdecimal() else value
    return None
