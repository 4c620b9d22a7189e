"""Real servers of the wrong kind, as local processes: relight has to say what they are, and not to write to them."""

from pathlib import Path

from tests.servers.elasticsearch_server import SearchServer

_HERE = Path(__file__).parent


class Elasticsearch7Server(SearchServer):
    """One node of Elasticsearch 7, which says its version at `GET /`."""

    def __init__(self, folder: Path) -> None:
        """Prepare a node.

        Raises:
            NoJars: Java, Maven or the jars cannot be had.
        """
        super().__init__(folder, _HERE / "elasticsearch_7" / "Elasticsearch7Server.java", {})


class OpenSearchServer(SearchServer):
    """One node of OpenSearch, which says at `GET /` that this is its distribution."""

    def __init__(self, folder: Path) -> None:
        """Prepare a node.

        Raises:
            NoJars: Java, Maven or the jars cannot be had.
        """
        super().__init__(folder, _HERE / "opensearch" / "OpenSearchServer.java", {})
