"""The policy of remediation: what guards allow. It is a fact of the topic, so that decisions can be replayed."""

from datetime import time
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from schemas.model import Model

Glob = Annotated[str, Field(min_length=1, max_length=253)]


class Maintenance(Model):
    """A time in which nothing is done to some hosts and jobs: people are at work there.

    It begins and ends at moments, or it comes back on days of the week (0 is Monday), at times of day in UTC; where
    `until` is not after `since` it lasts into the next day. Without hosts and jobs it holds for all of them.
    """

    name: str = Field(min_length=1, max_length=100)
    begins: AwareDatetime | None = None
    ends: AwareDatetime | None = None
    days: tuple[Annotated[int, Field(ge=0, le=6)], ...] = ()
    since: time | None = None
    until: time | None = None
    hosts: tuple[Glob, ...] = ()
    jobs: tuple[Glob, ...] = ()

    @model_validator(mode="after")
    def _once_or_weekly(self) -> Self:
        once, weekly = (self.begins, self.ends), (self.since, self.until)
        if (None in once) == (None in weekly) or once.count(None) == 1 or weekly.count(None) == 1:
            raise ValueError("a maintenance window has `begins` and `ends`, or `since` and `until` with `days`")
        if any(one is not None and one.tzinfo is not None for one in weekly):
            raise ValueError("`since` and `until` are in UTC: leave the zone out")
        return self


class Policy(Model):
    """What guards allow. Times are in seconds.

    `dry_run`: everything is planned, and nothing is issued. `confidence` is the least
    that a diagnosis must have. `cooldown_s`: how long after a command ended its targets are left alone. A job is
    started again `restarts` times within `restarts_s` at most. No more than `hosts_out` hosts, and no more than
    `percent_out` of the cluster's `hosts`, where that is given, are taken out of service within `hosts_out_s`; once
    that is reached the breaker opens, and `probe_s` after the last one that was taken out a single one may be tried.
    What happened more than `stale_s` before it is planned for causes nothing. `start_s` is how long a command may wait
    to be begun, `diagnostics_s` how long diagnostics are waited for; `heal_s` is how long a fault has to stay away from
    a job for its ladder to step down a rung, `heal_hosts_s` from a host.
    """

    dry_run: bool = True
    confidence: float = Field(default=0.5, ge=0, le=1)
    cooldown_s: NonNegativeFloat = 120
    restarts: PositiveInt = 5
    restarts_s: PositiveFloat = 86_400
    hosts_out: NonNegativeInt = 3
    percent_out: float = Field(default=10, ge=0, le=100)
    hosts: PositiveInt | None = None
    hosts_out_s: PositiveFloat = 86_400
    probe_s: PositiveFloat = 900
    stale_s: PositiveFloat = 3600
    start_s: PositiveFloat = 300
    diagnostics_s: PositiveFloat = 120
    heal_s: PositiveFloat = 3600
    heal_hosts_s: PositiveFloat = 604_800
    maintenance: tuple[Maintenance, ...] = ()
