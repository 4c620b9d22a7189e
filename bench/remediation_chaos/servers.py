"""The servers of a campaign: those that agents command, and the Kafka that its topics are in."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final

from bench.remediation_chaos.hosts import Processes, Programs
from bench.remediation_chaos.kubernetes import Kubernetes
from bench.remediation_chaos.slurm import Slurm
from bench.remediation_chaos.systems import System
from tests.servers.kafka_server import KafkaServer
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.slurm_server import SlurmServer

SYSTEMS: Final = ("process", "programs", "slurm", "kubernetes")
"""The names of all systems."""


@contextmanager
def kafka_in(folder: Path) -> Iterator[str]:
    """Run a Kafka below a folder while a `with` block lasts, and return its address. Raises: NoJars, NotStarted."""
    (folder / "kafka").mkdir()
    server = KafkaServer(folder / "kafka")
    server.start()
    try:
        yield server.address
    finally:
        server.kill()


@contextmanager
def systems_in(
    folder: Path, names: Sequence[str], seed: int, agents: int = 1
) -> Iterator[tuple[list[System], dict[str, str]]]:
    """Run systems below a folder while a `with` block lasts; `agents` is how many share those that can be shared.

    The variables are what programs need to speak to them.

    Raises:
        NotStarted: a server is not there.
    """
    found: list[System] = []
    variables: dict[str, str] = {}
    with ExitStack() as ends:
        if "process" in names:
            found.append(Processes(folder / "process", agents))
        if "programs" in names:
            found.append(Programs(folder / "programs", Random(f"{seed}/stand-in")))
        if "slurm" in names:
            (folder / "slurm").mkdir()
            slurm = SlurmServer(folder / "slurm")
            slurm.start()
            ends.callback(slurm.stop)
            variables |= slurm.environment
            found.append(Slurm(slurm))
        if "kubernetes" in names:
            (folder / "kubernetes").mkdir()
            kubernetes = KubernetesServer(folder / "kubernetes")
            kubernetes.start()
            ends.callback(kubernetes.stop)
            found.append(Kubernetes(kubernetes))
        for system in found:
            ends.callback(system.close)
        yield found, variables
