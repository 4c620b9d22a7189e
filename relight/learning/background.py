"""What is shown of an incident beside what it is itself: the lines that stand out, and what was like it before."""

from dataclasses import dataclass

from relight.incidents.cleaning import clean
from relight.learning.similar import Similar, similar_in
from relight.learning.unknowns import is_unexplained, unknown_of
from relight.stores.port import IncidentStore
from schemas.document import IncidentDocument
from schemas.incident import Surprise


@dataclass(frozen=True, slots=True)
class Background:
    """The lines that stand out where nothing explains the incident, and past incidents that are like it."""

    surprises: tuple[Surprise, ...]
    similar: tuple[Similar, ...]

    @property
    def sections(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return it in words: titles, each with the lines below it."""
        lines = tuple(
            clean(f"{one.place.text} ({one.place.source}:{one.place.line}: {one.why})") for one in self.surprises
        )
        told = (("Lines that stand out", lines), ("Seen before", tuple(map(str, self.similar))))
        return tuple((title, texts) for title, texts in told if texts)

    @property
    def plain(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "surprises": [one.model_dump(mode="json") for one in self.surprises],
            "similar": [one.plain() for one in self.similar],
        }


def background(store: IncidentStore, document: IncidentDocument) -> Background:
    """Return what a store tells of an incident beside the document itself. Raises: StoreError."""
    lines = unknown_of(store, document).surprises if is_unexplained(document) else ()
    return Background(lines, tuple(similar_in(store, document)))
