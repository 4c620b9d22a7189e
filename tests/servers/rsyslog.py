"""A real rsyslog as a local process, configured as docs/shippers.md says."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.missing import not_tested
from tests.servers.process import Process

DOCUMENT = Path(__file__).parents[2] / "docs" / "shippers.md"


def require() -> None:
    """Skip the test loudly where there is no rsyslog that writes to Kafka, or fail where there has to be one."""
    if reason := missing():
        not_tested(f"no rsyslog: {reason}")


def missing() -> str | None:
    """Return what is missing for a real rsyslog that writes to Kafka, `None` if nothing is."""
    if not program():
        return "no `rsyslogd` on the PATH (Debian: rsyslog)"
    if not any(Path("/usr/lib").glob("*/rsyslog/omkafka.so")) and not Path("/usr/lib64/rsyslog/omkafka.so").exists():
        return "rsyslog has no module omkafka (Debian: rsyslog-kafka)"
    return None


def program() -> str | None:
    return shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def documented() -> str:
    """Return the configuration of rsyslog that docs/shippers.md shows."""
    found = re.search(r"```rsyslog\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found, "docs/shippers.md shows no configuration of rsyslog"
    return found[1]


@contextmanager
def rsyslog(folder: Path, configuration: str, port: int) -> Iterator[None]:
    """Run rsyslogd with a configuration of its own, none of the machine's, and a TCP port where it listens."""
    file = folder / "rsyslog.conf"
    listens = f'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n'
    file.write_text(f'global(workDirectory="{folder}")\n{configuration}\n{listens}', encoding="utf-8")
    command = [str(program()), "-n", "-f", str(file), "-i", str(folder / "rsyslog.pid")]
    process = Process(command, folder / "rsyslog.log")
    try:
        process.wait_for(port)
        yield
    finally:
        process.end(signal.SIGTERM)
