"""Opens the store that the settings name: Elasticsearch where it is set, else the embedded one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relight.settings import Settings
    from relight.stores.port import IncidentStore


def open_store(settings: "Settings") -> "IncidentStore":
    """Open the store. An adapter is imported only where it is used: Elasticsearch's client takes a third of a second.

    Raises: StoreError.
    """
    if settings.elasticsearch.used:
        from relight.stores.elastic import ElasticStore

        return ElasticStore(settings.elasticsearch)
    from relight.stores.embedded import EmbeddedStore

    return EmbeddedStore(settings.embedded.path, durable=settings.embedded.durable)


def store_place(settings: "Settings") -> str:
    """Return where the store is, as people are told."""
    own = settings.elasticsearch
    if own.used:
        return f"Elasticsearch at {', '.join(own.hosts) or own.cloud_id}"
    return f"the embedded store {settings.embedded.path}"
