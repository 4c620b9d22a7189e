"""Figures of many incidents, from what a store has counted and summed up: a mean is a sum over how many are known."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from relight.incidents.cleaning import clean
from relight.incidents.times import iso
from relight.stores.port import Bucket, Facet, IncidentStore, Query

FACETS: Final[tuple[tuple[Facet, str], ...]] = (
    ("fault", "fault class"),
    ("blamed", "host to blame"),
    ("week", "week"),
    ("severity", "severity"),
    ("domain", "domain"),
)
"""What is counted by, with its name for people."""
_SEVERITIES: Final = ("critical", "error", "warning", "info")
_TOLD_AS: Final = {"first_s": "first_opened_utc", "last_s": "last_opened_utc"}
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of incidents of one sort. `None` is what cannot be told, since there is nothing to divide by.

    `detected`, `recovered` and `ranks_known` are how many incidents MTTD, MTTR and the lost hours are of.
    """

    key: str
    incidents: int
    ended_a_run: int
    share_percent: float
    first_s: float
    last_s: float
    mtbf_s: float | None
    mttd_s: float | None
    detected: int
    mttr_s: float | None
    recovered: int
    lost_gpu_h_at_least: float | None
    ranks_known: int

    def plain(self) -> dict[str, object]:
        """Return the figures as JSON and CSV have them, times in UTC."""
        return {_TOLD_AS.get(name, name): iso(v) if name in _TOLD_AS else v for name, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Stats:
    """All figures over a span (Unix, seconds); `whole` is `None` where there is no incident."""

    since_s: float | None
    until_s: float
    whole: Figures | None
    by: Mapping[str, Sequence[Figures]]

    def plain(self) -> dict[str, object]:
        """Return the figures as JSON has them, but for the span."""
        rows = {facet: [row.plain() for row in rows] for facet, rows in self.by.items()}
        return {"all": self.whole.plain() if self.whole else None, "by": rows}


def stats_of(store: IncidentStore, query: Query, now_ms: int) -> Stats:
    """Ask a store for the figures of incidents. Raises: StoreError."""
    until_ms = now_ms if query.until_ms is None else query.until_ms
    whole = next(iter(store.aggregate(query)), None)
    if whole is None:
        return Stats(_s(query.since_ms), until_ms / 1000, None, {facet: () for facet, _ in FACETS})
    since_ms = whole.first_ms if query.since_ms is None else query.since_ms
    span_ms = max(0, until_ms - since_ms)
    by: dict[str, Sequence[Figures]] = {
        facet: _ordered(facet, [figures(bucket, whole.count, span_ms) for bucket in store.aggregate(query, facet)])
        for facet, _ in FACETS
    }
    return Stats(since_ms / 1000, until_ms / 1000, figures(whole, whole.count, span_ms), by)


def figures(bucket: Bucket, total: int, span_ms: int) -> Figures:
    """Return the figures of a bucket, of `total` incidents in all over a span."""
    return Figures(
        key=clean(bucket.key),
        incidents=bucket.count,
        ended_a_run=bucket.failed,
        share_percent=round(100 * bucket.count / total, 1),
        first_s=bucket.first_ms / 1000,
        last_s=bucket.last_ms / 1000,
        mtbf_s=_mean_s(span_ms, bucket.failed),
        mttd_s=_mean_s(bucket.detection_ms, bucket.detected),
        detected=bucket.detected,
        mttr_s=_mean_s(bucket.recovery_ms, bucket.recovered),
        recovered=bucket.recovered,
        lost_gpu_h_at_least=round(bucket.lost_gpu_ms / _HOUR_MS, 3) if bucket.with_ranks else None,
        ranks_known=bucket.with_ranks,
    )


def _ordered(facet: Facet, rows: Sequence[Figures]) -> Sequence[Figures]:
    """Return rows as they are read: weeks in their order, hosts by the runs that ended, severities from the worst."""
    if facet == "week":
        return sorted(rows, key=lambda row: row.first_s)
    if facet == "blamed":
        return sorted(rows, key=lambda row: (-row.ended_a_run, -row.incidents, row.key))
    if facet == "severity":
        known = {name: place for place, name in enumerate(_SEVERITIES)}
        return sorted(rows, key=lambda row: known.get(row.key, len(known)))
    return rows


def _mean_s(sum_ms: int, count: int) -> float | None:
    return round(sum_ms / count / 1000, 3) if count else None


def _s(time_ms: int | None) -> float | None:
    return None if time_ms is None else time_ms / 1000
