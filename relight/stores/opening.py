"""Opens the store that the settings name: Elasticsearch where it is set, else the embedded one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from relight.stores.waiting import NEVER, Waited

if TYPE_CHECKING:
    from relight.settings import Settings
    from relight.stores.port import IncidentStore


def open_store(
    settings: "Settings",
    waited: Waited = NEVER.wait,
    retried: Callable[[str], None] = lambda reason: None,
    *,
    create: bool = True,
) -> "IncidentStore":
    """Open the store. An adapter is imported only where it is used: Elasticsearch's client takes a third of a second.

    Args:
        settings: say which one it is.
        waited: waits for a store that is busy.
        retried: is told why something is written again.
        create: make the embedded store where it is not there, or of another version; else it is refused.

    Raises: StoreError.
    """
    if settings.elasticsearch.used:
        from relight.stores.elastic import ElasticStore

        return ElasticStore(
            settings.elasticsearch,
            lines_days=settings.index.lines_days,
            bulk_bytes=settings.index.bulk_bytes,
            waited=waited,
            retried=retried,
        )
    from relight.stores.embedded import EmbeddedStore

    own = settings.embedded
    return EmbeddedStore(own.path, durable=own.durable, create=create, lines_days=settings.index.lines_days)


def store_place(settings: "Settings") -> str:
    """Return where the store is, as people are told."""
    own = settings.elasticsearch
    if own.used:
        return f"Elasticsearch at {', '.join(own.hosts) or own.cloud_id}"
    return f"the embedded store {settings.embedded.path}"
