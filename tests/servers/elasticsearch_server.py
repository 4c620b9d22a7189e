"""One node of Elasticsearch as a local process, which tests may stop, kill, freeze and start again.

Maven Central has Elasticsearch's server and its HTTP, not its other modules: see `ElasticsearchServer`.
"""

import os
import re
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.servers.controlled import ControlledServer
from tests.servers.jars import classes, jars, java21
from tests.servers.process import NotStarted, Process, free_ports

PROGRAM = Path(__file__).parent / "elasticsearch" / "ElasticsearchServer.java"
VERSION = re.findall("<elasticsearch.version>(.+?)<", (PROGRAM.parent / "pom.xml").read_text("utf-8"))[0]
_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED")
_SMALL = {
    "cluster.name": "relight",
    "node.name": "node-1",
    "discovery.type": "single-node",
    "network.host": "127.0.0.1",
    "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk of the tests' machine is not the test
}
_HTTP = "transport-netty4"
_DESCRIPTOR = f"""
name={_HTTP}
description=HTTP over Netty
classname=org.elasticsearch.transport.netty4.Netty4Plugin
version={VERSION}
elasticsearch.version={VERSION}
java.version=21
"""


class SearchServer(ControlledServer):
    """One node of a search engine, reachable from this machine only, without users and passwords.

    Its data and ports last as long as the object's folder: `start` after `stop` or `kill` gives the same node again.
    What it has acknowledged survives `kill`: an index syncs its translog before it answers, unless it is told not to.
    """

    def __init__(self, folder: Path, program: Path, settings: Mapping[str, str]) -> None:
        """Prepare a node: its jars and its home. `start` starts it.

        Raises:
            NoJars: Java, Maven or the jars cannot be had.
        """
        self._folder, self._output = folder, folder / "server.log"
        self._port, transport = free_ports(2)
        self.url = f"http://127.0.0.1:{self._port}"
        told = {**_SMALL, "http.port": str(self._port), "transport.port": str(transport), **settings}
        libraries = jars(program.parent / "pom.xml")
        path = [classes(program, libraries), *self._lay_out(sorted(libraries.glob("*.jar")))]
        words = [program.stem, str(folder), *(f"{name}={value}" for name, value in told.items())]
        self._command = [java21(), *_JAVA, "-cp", os.pathsep.join(map(str, path)), *words]

    def start(self) -> None:
        """Start the node, wait until it has its data and answers.

        Raises:
            NotStarted: it has ended, or it does not answer.
        """
        assert self._process is None, "it runs"
        self._process = Process(self._command, self._output)
        deadline = time.monotonic() + 60
        try:
            self._process.wait_for(self._port)
            while not self._is_well():
                if time.monotonic() > deadline:
                    raise NotStarted(f"it listens on port {self._port} and is not well: see {self._output}")
                self._process.wait_for(self._port)
        except NotStarted:
            self.kill()
            raise

    def _is_well(self) -> bool:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=5)) as connection:
            try:
                connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
                return connection.getresponse().status == 200
            except (OSError, HTTPException):
                return False

    def _lay_out(self, libraries: list[Path]) -> list[Path]:
        """Put into the node's home what has to be there, return what belongs on its class path."""
        return libraries


class ElasticsearchServer(SearchServer):
    """One node of Elasticsearch.

    It has what is in the server itself: documents, bulk, mappings, templates, aliases, searches, aggregations, points
    in time. Elastic's modules and X-Pack are missing, and with them `GET /`, reindexing and `_delete_by_query`, ingest
    pipelines, Painless, lifecycles, security, ES|QL, and the field types of modules.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Prepare a node, with settings of its own if it has to be unlike the others.

        Raises:
            NoJars: Java, Maven or the jars cannot be had.
        """
        super().__init__(folder, PROGRAM, settings or {})

    def _lay_out(self, libraries: list[Path]) -> list[Path]:
        """Give the module for HTTP the folder of its own that Elasticsearch wants modules to have."""
        module = self._folder / "modules" / _HTTP
        module.mkdir(parents=True)
        (module / "plugin-descriptor.properties").write_text(_DESCRIPTOR, encoding="utf-8")
        own = [jar for jar in libraries if jar.name.startswith(("netty-", _HTTP))]
        for jar in own:
            (module / jar.name).symlink_to(jar)
        return [jar for jar in libraries if jar not in own]
