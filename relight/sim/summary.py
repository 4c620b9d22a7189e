"""The figures of a score, and how they are shown."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from relight.sim.living_score import LiveScore
from relight.sim.scoring import FalseAlarm, Score
from relight.sim.trials import Outcome
from schemas.model import Model


class Share(Model):
    """How many of how many, with a 95 % interval (Wilson)."""

    right: int
    of: int
    share: float | None
    low: float | None = None
    high: float | None = None


class OfScenario(Model):
    """What came of one scenario's incidents; `wrong` says of each that failed what was said instead."""

    scenario: str
    fault: str
    incidents: int
    fault_top1: Share
    host_top1: Share
    host_top5: Share
    first_line: Share
    wrong: tuple[str, ...] = ()


class Live(Model):
    """What came of the living core. Delays are in seconds from the true time to a tick.

    `opened`: incidents of the job were told at all; `named`: with the true fault. `within_goal`: of hangs, those told
    within three steps and a minute; `within_gap_goal`: within three times what its lines tell of, and a minute.
    """

    opened: Share
    named: Share
    detection_median_s: float | None
    detection_p95_s: float | None
    naming_median_s: float | None
    naming_p95_s: float | None
    hangs: int
    hang_median_s: float | None
    within_goal: Share
    within_gap_goal: Share
    false_incidents: int
    false_per_1000_node_days: float | None
    healthy_false_incidents: int
    false_per_1000_healthy_node_days: float | None
    scores: tuple[LiveScore, ...] = ()
    false_alarms: tuple[FalseAlarm, ...] = ()


class Summary(Model):
    """All figures. Delays are in seconds from the true time of an incident to its detection."""

    incidents: int
    reported: Share
    fault_top1: Share
    host_top1: Share
    host_top5: Share
    first_line: Share
    delay_median_s: float | None
    delay_p95_s: float | None
    node_days: float
    false_incidents: int
    false_per_1000_node_days: float | None
    healthy_node_days: float
    false_per_1000_healthy_node_days: float | None
    megabytes: float
    scenarios: tuple[OfScenario, ...]
    false_alarms: tuple[FalseAlarm, ...]
    live: Live | None = None


def summed(outcomes: Iterable[Outcome], *, live: bool = False) -> Summary:
    """Return the figures of outcomes."""
    every = list(outcomes)
    scores = [score for outcome in every for score in outcome.scores]
    alarms = [alarm for outcome in every for alarm in outcome.false_alarms]
    quiet = [outcome for outcome in every if outcome.healthy]
    days, quiet_days = sum(o.node_days for o in every), sum(o.node_days for o in quiet)
    delays = sorted(score.delay_s for score in scores if score.delay_s is not None)
    return Summary(
        incidents=len(scores),
        reported=share([score.reported for score in scores]),
        **_shares(scores),
        delay_median_s=round(median(delays), 3) if delays else None,
        delay_p95_s=round(delays[min(len(delays) - 1, int(0.95 * len(delays)))], 3) if delays else None,
        node_days=round(days, 3),
        false_incidents=len(alarms),
        false_per_1000_node_days=_per_1000(len(alarms), days),
        healthy_node_days=round(quiet_days, 3),
        false_per_1000_healthy_node_days=_per_1000(sum(len(o.false_alarms) for o in quiet), quiet_days),
        megabytes=round(sum(o.bytes for o in every) / 1e6, 1),
        scenarios=tuple(_scenarios(scores)),
        false_alarms=tuple(alarms),
        live=_live(every) if live else None,
    )


def _live(every: Sequence[Outcome]) -> Live:
    scores = [score for outcome in every for score in outcome.live]
    quiet = [outcome for outcome in every if outcome.healthy]
    alarms, quiet_alarms = ([a for o in some for a in o.live_alarms] for some in (every, quiet))
    opened, named = ([getattr(score, name) for score in scores] for name in ("opened_s", "named_s"))
    hangs = [score for score in scores if score.hangs]
    return Live(
        opened=share([at is not None for at in opened]),
        named=share([at is not None for at in named]),
        detection_median_s=_quantile(opened, 0.5),
        detection_p95_s=_quantile(opened, 0.95),
        naming_median_s=_quantile(named, 0.5),
        naming_p95_s=_quantile(named, 0.95),
        hangs=len(hangs),
        hang_median_s=_quantile([score.opened_s for score in hangs], 0.5),
        within_goal=share([score.within_goal for score in hangs]),
        within_gap_goal=share([score.within_gap_goal for score in hangs]),
        false_incidents=len(alarms),
        false_per_1000_node_days=_per_1000(len(alarms), sum(o.node_days for o in every)),
        healthy_false_incidents=len(quiet_alarms),
        false_per_1000_healthy_node_days=_per_1000(len(quiet_alarms), sum(o.node_days for o in quiet)),
        scores=tuple(scores),
        false_alarms=tuple(alarms),
    )


def _quantile(values: Iterable[float | None], part: float) -> float | None:
    known = sorted(value for value in values if value is not None)
    return round(known[min(len(known) - 1, int(part * len(known)))], 3) if known else None


def share(answers: Sequence[bool | None]) -> Share:
    """Return how many of those that count are right."""
    counted = [answer for answer in answers if answer is not None]
    right, of = sum(counted), len(counted)
    if not of:
        return Share(right=0, of=0, share=None)
    z, p = 1.96, right / of
    middle, spread = p + z * z / (2 * of), z * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    scale = 1 + z * z / of
    low, high = max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
    return Share(right=right, of=of, share=round(p, 4), low=round(low, 4), high=round(high, 4))


def _shares(scores: Sequence[Score]) -> dict[str, Share]:
    names = ("fault_top1", "host_top1", "host_top5", "first_line")
    return {name: share([getattr(score, name) for score in scores]) for name in names}


def _per_1000(count: int, days: float) -> float | None:
    return round(1000 * count / days, 3) if days else None


def _scenarios(scores: Sequence[Score]) -> Iterator[OfScenario]:
    by_name: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_name[score.scenario].append(score)
    for name in sorted(by_name):
        own = by_name[name]
        wrong = tuple(text for score in own if (text := _wrong(score)))
        yield OfScenario(scenario=name, fault=own[0].fault, incidents=len(own), **_shares(own), wrong=wrong)


def _wrong(score: Score) -> str:
    """Say in a line what was wrong about a report, and nothing if all was right."""
    names = ("fault_top1", "host_top1", "first_line")
    failed = [name for name in names if getattr(score, name) is False]
    if not failed:
        return ""
    where = f"seed {score.seed}, {score.variant}"
    if not score.reported:
        return f"{where}: not reported"
    said = f"{score.told_fault} on {score.told_host or 'no host'}: {' '.join((score.told_line or '').split())[:140]}"
    return f"{where}: {', '.join(failed)}: {said}"


def shown(summary: Summary) -> Iterator[str]:
    """Yield the lines of a summary as people read it."""
    for name in ("reported", "fault_top1", "host_top1", "host_top5", "first_line"):
        yield f"{name:<12} {_of(getattr(summary, name))}"
    if summary.delay_median_s is not None:
        yield f"delay        median {summary.delay_median_s:.1f} s, 95 % within {summary.delay_p95_s:.1f} s"
    rate = _rate(summary.false_per_1000_node_days)
    yield f"false        {summary.false_incidents} in {summary.node_days:.1f} node days{rate}"
    if summary.healthy_node_days:
        yield f"of healthy   {summary.healthy_node_days:.1f} node days{_rate(summary.false_per_1000_healthy_node_days)}"
    if summary.live is not None:
        yield from _shown_live(summary.live)
    yield ""
    width = max((len(one.scenario) for one in summary.scenarios), default=8)
    if summary.scenarios:
        yield f"{'scenario':<{width}}  n   fault  host  top5  line"
    for one in summary.scenarios:
        cells = (one.fault_top1, one.host_top1, one.host_top5, one.first_line)
        yield f"{one.scenario:<{width}}  {one.incidents:<3} " + "  ".join(f"{_cell(cell):>4}" for cell in cells)
        yield from (f"    {text}" for text in one.wrong)
    for alarm in summary.false_alarms:
        yield f"false: seed {alarm.seed}: {alarm.fault} ({alarm.impact}): {' '.join(alarm.line.split())[:160]}"


def _shown_live(live: Live) -> Iterator[str]:
    yield f"live opened  {_of(live.opened)}{_within(live.detection_median_s, live.detection_p95_s)}"
    yield f"live named   {_of(live.named)}{_within(live.naming_median_s, live.naming_p95_s)}"
    if live.hangs:
        yield f"live hangs   {_of(live.within_goal)} within 3 steps and 60 s; median {live.hang_median_s} s"
        yield f"             {_of(live.within_gap_goal)} within 3 lines of progress and 60 s"
    yield f"live false   {live.false_incidents}{_rate(live.false_per_1000_node_days)} node days"
    if live.false_per_1000_healthy_node_days is not None:
        yield f"of healthy   {live.healthy_false_incidents}{_rate(live.false_per_1000_healthy_node_days)}"
    late = [one for one in live.scores if one.named_s is None or one.within_gap_goal is False]
    yield from (f"    live: seed {o.seed}, {o.variant}, {o.scenario}: {_late(o)}" for o in late)
    for alarm in live.false_alarms:
        yield f"false live: seed {alarm.seed}: {alarm.fault} ({alarm.impact}): {' '.join(alarm.line.split())[:160]}"


def _late(one: LiveScore) -> str:
    if one.opened_s is None:
        return "not told"
    named = "never named" if one.named_s is None else f"named after {one.named_s} s"
    return f"told after {one.opened_s} s, {named}" + (f"; a line each {one.gap_s} s" if one.hangs else "")


def _within(median_s: float | None, p95_s: float | None) -> str:
    return "" if median_s is None else f"; median {median_s:.1f} s, 95 % within {p95_s:.1f} s"


def _of(one: Share) -> str:
    if one.share is None or one.low is None or one.high is None:
        return "none counts"
    return f"{one.share:6.1%}  ({one.right} of {one.of}; 95 %: {one.low:.1%} to {one.high:.1%})"


def _cell(one: Share) -> str:
    return "-" if one.share is None else f"{one.share:.0%}"


def _rate(per_1000: float | None) -> str:
    return "" if per_1000 is None else f": {per_1000:.1f} in 1,000"
