"""What stores keep of an incident: the fold of its events, with a timeline of what happened to it and when."""

from pydantic import AwareDatetime, Field

from schemas.history import IncidentHistory
from schemas.model import Model
from schemas.remedy import CommandHistory


class Moment(Model):
    """An event of an incident as a person reads it. `id` is the event's, `sequence` its place in the history."""

    id: str
    sequence: int = Field(ge=1)
    time: AwareDatetime
    event: str
    text: str


class IncidentDocument(Model):
    """An incident as stores keep it, with the commands that were planned for it first, by their ids.

    `left_out` counts moments in the middle of a long timeline that are not there.
    """

    cluster: str
    history: IncidentHistory
    commands: dict[str, CommandHistory] = {}
    timeline: tuple[Moment, ...] = ()
    left_out: int = 0
    updated_s: float | None = None

    @property
    def id(self) -> str:
        """Return the incident's id."""
        return self.history.id

    @property
    def version(self) -> int:
        """Return the number of events that it is the fold of, those of its commands included."""
        return self.history.sequence + sum(command.sequence for command in self.commands.values())
