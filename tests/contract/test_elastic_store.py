"""The store in Elasticsearch keeps the contract, on a real server."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import setup
from relight.stores.port import IncidentStore
from tests.contract.store_contract import StoreContract


@pytest.fixture(scope="module")
def elastic_store(elasticsearch_url: str) -> Iterator[ElasticStore]:
    settings = models.Elasticsearch(hosts=(elasticsearch_url,), prefix=f"t{uuid4().hex[:8]}", replicas=0)
    with ElasticStore(settings) as store:
        setup(store.client, store.place, settings, 30)
        store.check()
        yield store
        store.clear()


@pytest.mark.elasticsearch
class TestElasticStore(StoreContract):
    @pytest.fixture
    def store(self, elastic_store: ElasticStore) -> IncidentStore:
        elastic_store.clear()
        return elastic_store
