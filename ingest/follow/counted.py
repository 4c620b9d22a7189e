"""A stream that is no file: its bytes exist only as they come, so what has come is counted here."""

from ingest.chunks import newlines
from ingest.follow import generations
from ingest.follow.pieces import Piece
from ingest.follow.positions import Cursor, Positions
from schemas.shipped import Shipped
from schemas.vocabulary import Provenance


class Counted:
    """A stream of whole lines, each with a cursor behind it by which its origin can go on.

    Its generation follows from what began it, so that one that is read again from the same beginning is the same.
    """

    def __init__(
        self, cluster: str, host: str, stream: str, positions: Positions, provenance: Provenance = Provenance.UNKNOWN
    ) -> None:
        self._told = (cluster, host, provenance)
        self.stream = stream
        self.known = positions.cursor(stream)

    def begin(self, *causes: object) -> None:
        """Begin a generation, unless it is the one that goes on."""
        generation = generations.short_id("generation", self.stream, *causes)
        if self.known is None or self.known.generation != generation:
            self.known = Cursor(stream=self.stream, generation=generation, offset_bytes=0, line=1, cursor="")

    def piece(self, value: bytes, cursor: str, now_ms: int, *, at_end: bool) -> Piece:
        """Return the next bytes as a piece, with the cursor behind them."""
        assert self.known is not None
        cluster, host, provenance = self._told
        header = Shipped(
            cluster=cluster,
            host=host,
            stream=self.stream,
            provenance=provenance,
            attested=True,
            generation=self.known.generation,
            offset_bytes=self.known.offset_bytes,
            line=self.known.line,
            observed_ms=now_ms,
            at_end=at_end,
        )
        moved = {
            "offset_bytes": self.known.offset_bytes + len(value),
            "line": self.known.line + newlines(value),
            "cursor": cursor,
            "seen_ms": now_ms,
        }
        self.known = self.known.model_copy(update=moved)
        return Piece(header, value, self.known)

    def heartbeat(self, now_ms: int) -> list[Piece]:
        """Return a heartbeat, none if nothing has come yet."""
        return [] if self.known is None else [self.piece(b"", self.known.cursor, now_ms, at_end=True)]
