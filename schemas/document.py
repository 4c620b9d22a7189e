"""What stores keep of an incident: the fold of its events, with a timeline of what happened to it and when."""

from pydantic import AwareDatetime, Field

from schemas.history import IncidentHistory
from schemas.model import Model
from schemas.remedy import CommandHistory
from schemas.verdict import IncidentJudged


class Moment(Model):
    """An event of an incident as a person reads it. `id` is the event's, `sequence` its place in the history."""

    id: str
    sequence: int = Field(ge=1)
    time: AwareDatetime
    event: str
    text: str


class IncidentDocument(Model):
    """An incident as stores keep it, with the commands that were planned for it first and its verdicts, by their ids.

    `left_out` counts moments in the middle of a long timeline that are not there.
    """

    cluster: str
    history: IncidentHistory
    commands: dict[str, CommandHistory] = {}
    verdicts: dict[str, IncidentJudged] = {}
    timeline: tuple[Moment, ...] = ()
    left_out: int = 0
    updated_s: float | None = None

    @property
    def id(self) -> str:
        """Return the incident's id."""
        return self.history.id

    @property
    def version(self) -> int:
        """Return the number of events that it is the fold of, those of its commands and its verdicts included."""
        return self.history.sequence + sum(one.sequence for one in self.commands.values()) + len(self.verdicts)

    @property
    def verdict(self) -> IncidentJudged | None:
        """Return the verdict that holds, the latest; `None` where nobody has given one."""
        name = max(self.verdicts, key=lambda name: (self.verdicts[name].at_s, name), default=None)
        return None if name is None else self.verdicts[name]
