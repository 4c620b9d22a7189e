"""The search servers of the tests: real ones, that keep what they acknowledged and say what they are."""

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.servers.elasticsearch_server import ElasticsearchServer

pytestmark = pytest.mark.elasticsearch


def asked(url: str, method: str, path: str, body: object = None, timeout_s: float = 30) -> tuple[int, Any]:
    """Ask a server something in JSON, return the status and what it answers."""
    said = {"body": json.dumps(body), "headers": {"Content-Type": "application/json"}} if body else {}
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)) as connection:
        connection.request(method, path, **said)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_what_a_node_has_acknowledged_survives_that_it_is_killed(own_elasticsearch: ElasticsearchServer) -> None:
    url = own_elasticsearch.url
    assert asked(url, "PUT", "/survives/_doc/1", {"message": "kept"})[0] == 201
    own_elasticsearch.kill()
    with pytest.raises(ConnectionRefusedError):
        asked(url, "GET", "/survives/_doc/1")
    own_elasticsearch.start()
    assert own_elasticsearch.url == url
    assert asked(url, "GET", "/survives/_doc/1")[1]["_source"] == {"message": "kept"}


def test_a_frozen_node_answers_nothing_until_it_is_thawed(own_elasticsearch: ElasticsearchServer) -> None:
    own_elasticsearch.freeze()
    with pytest.raises(TimeoutError):
        asked(own_elasticsearch.url, "GET", "/_cluster/health", timeout_s=0.5)
    own_elasticsearch.thaw()
    assert asked(own_elasticsearch.url, "GET", "/_cluster/health")[0] == 200


def test_an_older_version_of_a_document_is_a_conflict(elasticsearch_url: str) -> None:
    index = "/versions/_doc/1?version_type=external&version="
    assert asked(elasticsearch_url, "PUT", f"{index}7", {"message": "newer"})[0] < 300
    assert asked(elasticsearch_url, "PUT", f"{index}6", {"message": "older"})[0] == 409


def test_the_nodes_say_their_version(elasticsearch_url: str) -> None:
    nodes = asked(elasticsearch_url, "GET", "/_nodes/_local")[1]["nodes"]
    assert [int(node["version"].partition(".")[0]) >= 8 for node in nodes.values()] == [True]


def test_a_server_that_is_too_old_says_its_version(elasticsearch_7_url: str) -> None:
    version = asked(elasticsearch_7_url, "GET", "/")[1]["version"]
    assert version["number"].startswith("7.17.")
    assert "distribution" not in version


def test_opensearch_says_that_it_is_opensearch(opensearch_url: str) -> None:
    assert asked(opensearch_url, "GET", "/")[1]["version"]["distribution"] == "opensearch"
