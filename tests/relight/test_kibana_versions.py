"""What a server says that its version is: whatever that is, `relight setup kibana` says whether it can be used."""

from collections.abc import Iterator

import pytest
from kibana_stand_in import Kibana, kibana_stand_in

from relight import kibana
from relight.settings import models


@pytest.fixture
def stand_in() -> Iterator[Kibana]:
    with kibana_stand_in() as found:
        yield found


@pytest.mark.parametrize("version", ["7.17.29", "main", "", "²", "-9"])
def test_a_version_that_is_old_or_none_is_refused(stand_in: Kibana, version: str) -> None:
    stand_in.version = version
    with (
        kibana.Kibana(models.Kibana(url=stand_in.url)) as found,
        pytest.raises(kibana.KibanaRefused, match="relight needs Kibana 8 or newer"),
    ):
        found.check()


def test_a_newer_version_is_used(stand_in: Kibana) -> None:
    stand_in.version = "10.0.0-SNAPSHOT"
    with kibana.Kibana(models.Kibana(url=stand_in.url)) as found:
        assert found.check() == "10.0.0-SNAPSHOT"
