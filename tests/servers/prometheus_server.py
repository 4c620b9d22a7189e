"""A real Prometheus and a real Alertmanager as local processes, with configurations of a test's own."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.missing import not_tested
from tests.servers.process import Process, free_ports


def program(name: str, package: str) -> str:
    """Return where a program is; where it is not, skip the test loudly, or fail it where servers are required."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if found is None:
        not_tested(f"there is no `{name}` (Debian: {package})")
    return found


@contextmanager
def prometheus(folder: Path, configuration: str, data: Path | None = None) -> Iterator[str]:
    """Run a Prometheus with a configuration, on data that may be there already; give its URL."""
    server, (port,) = program("prometheus", "prometheus"), free_ports(1)
    file = folder / "prometheus.yaml"
    file.write_text(configuration, "utf-8")
    arguments = (
        f"--config.file={file}",
        f"--storage.tsdb.path={data or folder / 'prometheus-data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with _running([server, *arguments], folder / "prometheus.log", port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def alertmanager(folder: Path, configuration: str) -> Iterator[str]:
    """Run an Alertmanager with a configuration; give its URL."""
    server, (port,) = program("prometheus-alertmanager", "prometheus-alertmanager"), free_ports(1)
    file = folder / "alertmanager.yaml"
    file.write_text(configuration, "utf-8")
    arguments = (
        f"--config.file={file}",
        f"--storage.path={folder / 'alertmanager-data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    with _running([server, *arguments], folder / "alertmanager.log", port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], output: Path, port: int) -> Iterator[None]:
    process = Process(command, output)
    try:
        process.wait_for(port)
        yield
    finally:
        process.end(signal.SIGTERM)
