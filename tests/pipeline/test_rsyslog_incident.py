"""A kernel's line that a real rsyslog sends to a real Kafka becomes an incident; nothing of relight ships it."""

from pathlib import Path

import pytest
from fleet import Fleet, incidents, until

from relight.topics import LOGS
from relight.transports.opening import open_log
from tests.servers.process import free_ports
from tests.servers.rsyslog import documented, require, rsyslog

pytestmark = pytest.mark.kafka

XID = (
    "2026-05-01T04:11:25.500000+00:00 gpu-17 kernel: [12345.678901] NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, "
    "GPU has fallen off the bus."
)


@pytest.mark.parametrize("fleet", ["kafka"], indirect=True)
def test_a_gpu_that_a_kernel_complains_of_is_an_incident(fleet: Fleet, tmp_path: Path) -> None:
    require()
    log, (port,) = tmp_path / "kern.log", free_ports(1)
    log.touch()
    address = fleet.flags[1]
    configuration = documented().replace("kafka:9092", address).replace("/var/log/kern.log", str(log))
    assert f'"{LOGS}"' in configuration
    fleet.start("match", "diagnose", "match", "--cluster", "lab")
    fleet.start("correlate", "diagnose", "correlate")
    with rsyslog(tmp_path, configuration, port), open_log(fleet.settings) as kafka:
        with log.open("a") as file:
            file.write(f"{XID}\n")
        until(lambda: [i for i in incidents(kafka).values() if i.settled])
        (incident,) = incidents(kafka).values()
    assert incident.diagnosed is not None
    diagnosis = incident.diagnosed.diagnosis
    assert (diagnosis.fault, diagnosis.culprit.name) == ("gpu.fallen_off_bus", "GPU 0000:3b:00 on gpu-17")
    assert not incident.diagnosed.provenance_verified
