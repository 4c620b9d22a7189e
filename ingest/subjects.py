"""What alerts and series of Prometheus are about: the host, the GPU and the job that their labels name.

Which labels are asked is data, in `subjects.yaml`. A label is text that someone has set: what does not look like the
name of such a thing is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from schemas.yaml_files import loaded

_CHARACTERS: Final = 300
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")
_PORT: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[^\[\]:]+)):[0-9]{1,5}")
_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")
_JOB: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/\[\]-]{0,199}")
_PARTS: Final = {
    "gpu": re.compile(r"[0-9]{1,4}"),
    "gpu_uuid": re.compile(r"(?:GPU|MIG)-[0-9A-Za-z-]{1,80}"),
    "pci": re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f])?"),
    "xid": re.compile(r"[1-9][0-9]{0,4}"),
    "disk": re.compile(r"/[^\s=]{0,200}"),
    "nic": re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,31}"),
}
"""Parts of a host, and how their names look."""
GPU: Final = ("gpu", "gpu_uuid", "pci", "xid")
"""The parts that say of themselves what they are."""
NAMES: Final = frozenset({"host", "job", *GPU})
"""What may be known of a subject."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What something is about, as far as its labels tell: a host, a part of it, a job."""

    host: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    job: str | None = None

    @property
    def told(self) -> dict[str, str]:
        """Return what is known, in the order in which lines have it."""
        known = {"host": self.host, **self.parts, "job": self.job}
        return {name: value for name, value in known.items() if value is not None}


def subject_of(labels: Mapping[str, str], parts: tuple[str, ...] = GPU) -> Subject:
    """Return what something with these labels is about; `parts` are those of a host that they may name."""
    known = _labels()
    found = {name: value for name in parts if (value := _first(labels, known[name], _PARTS[name])) is not None}
    return Subject(_host(labels), found, _first(labels, known["job"], _JOB) or _job_of_pod(labels))


def _host(labels: Mapping[str, str]) -> str | None:
    known = _labels()
    for name in known["host"]:
        value = labels.get(name, "")[:_CHARACTERS]
        if name == "instance":
            if labels.get("job") in known["not_of_instance"]:
                continue
            value = named["six"] or named["name"] if (named := _PORT.fullmatch(value)) else value
        if _HOST.fullmatch(value) and not _LOOPBACK.fullmatch(value):
            return value
    return None


def _job_of_pod(labels: Mapping[str, str]) -> str | None:
    known = _labels()
    for name in known["pod"]:
        pod = re.fullmatch(known["job_of_pod"], labels.get(name, "")[:_CHARACTERS])
        if pod and _JOB.fullmatch(pod[1]):
            return pod[1]
    return None


def _first(labels: Mapping[str, str], names: list[str], form: re.Pattern[str]) -> str | None:
    return next((value for name in names if (value := labels.get(name)) and form.fullmatch(value)), None)


@cache
def _labels() -> dict[str, Any]:
    told: dict[str, Any] = loaded(files("ingest").joinpath("subjects.yaml").read_text(encoding="utf-8"))
    return told
