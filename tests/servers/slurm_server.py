"""A Slurm of three nodes as local processes: its own munged, slurmctld and slurmd, which tests may stop and freeze.

Whoever runs the tests is its user, on the loopback and in a folder of its own: none of the machine's Slurm is touched.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from getpass import getuser
from pathlib import Path

from tests.servers.process import NotStarted, Process, free_ports

NODES = ("node1", "node2", "node3")
_NEEDED = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "scontrol": "slurm-client",
    "squeue": "slurm-client",
    "sbatch": "slurm-client",
}
"""Programs, and Debian's packages of them."""
_PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_SMALL = """
ClusterName=relight
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
ReturnToService=2
KillWait=1
MessageTimeout=2
SlurmctldTimeout=30
SlurmdTimeout=30
ResumeTimeout=60
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1,default_queue_depth=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_REBOOT = r"""#!/bin/sh
slurmd=$(sed 's/.*) //' "/proc/$PPID/stat" | cut -d ' ' -f 2)
: >"{folder}/$(tr '\0' '\n' <"/proc/$slurmd/cmdline" | grep -x 'node[0-9]')"
"""
"""slurmd, whose shell runs the program, does not tell it which node it is for; slurmd's own arguments do."""
_CPUS = 64
"""More than the machine has: jobs of tests sleep."""


class SlurmServer:
    """A Slurm. `RebootProgram` is one that only notes that a node is to be rebooted: `reboot` plays the machine."""

    def __init__(self, folder: Path) -> None:
        """Prepare it: keys, configuration and ports. `start` starts it.

        Raises:
            NotStarted: a program is not installed.
        """
        missing = sorted({package for name, package in _NEEDED.items() if not shutil.which(name, path=_PLACES)})
        if missing:
            raise NotStarted(f"a program is missing (Debian: {', '.join(missing)})")
        self._folder = folder
        self._sockets = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path is short
        self._munged: Process | None = None
        self._slurmctld: Process | None = None
        self._slurmds: dict[str, Process] = {}
        self._port, *ports = free_ports(1 + len(NODES))
        self._ports = dict(zip(NODES, ports, strict=True))
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(256))
        key.chmod(0o400)
        self._sockets.chmod(0o755)  # munged asks that others can reach its socket
        self._write_configuration()

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which Slurm's programs speak to it."""
        return {"SLURM_CONF": str(self._configuration)}

    def start(self) -> None:
        """Start all of it, and wait until the nodes are idle. Raises: NotStarted."""
        self._munged = Process([*self._munge(), "--foreground", "--force"], self._folder / "munged.out")
        self._wait(lambda: (self._sockets / "munge").exists(), "munged", self._folder / "munged.out")
        self.start_slurmctld()
        for node in NODES:
            self._start_slurmd(node)
        self._wait(lambda: self._idle() == len(NODES), "slurmd", self._folder / "slurmctld.log")

    def stop(self) -> None:
        """End all of it, and the jobs."""
        with suppress(NotStarted, subprocess.SubprocessError):
            self.thaw()
            self.run("scancel", f"--user={getuser()}")
            for _ in range(100):  # their processes would outlive slurmd
                if not self.run("squeue", "--noheader"):
                    break
                time.sleep(0.1)
        for process in (*self._slurmds.values(), self._slurmctld, self._munged):
            if process:
                process.end(signal.SIGTERM, 5)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def start_slurmctld(self) -> None:
        """Start slurmctld, after `stop_slurmctld` with all that it knew."""
        command = [_program("slurmctld"), "-D", "-f", str(self._configuration)]
        self._slurmctld = Process(command, self._folder / "slurmctld.out")
        self._slurmctld.wait_for(self._port)

    def stop_slurmctld(self) -> None:
        """Stop slurmctld; jobs go on."""
        if self._slurmctld:
            self._slurmctld.end(signal.SIGTERM)
        self._slurmctld = None

    def freeze(self) -> None:
        """Stop slurmctld's clock: it accepts connections and answers nothing until `thaw`."""
        assert self._slurmctld, "it does not run"
        self._slurmctld.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let slurmctld go on after `freeze`, or start it after `stop_slurmctld`."""
        if self._slurmctld is None:
            self.start_slurmctld()
        else:
            self._slurmctld.send(signal.SIGCONT)

    def reboot_asked(self, node: str) -> bool:
        """Tell whether Slurm has run its RebootProgram on a node."""
        return (self._folder / "rebooted" / node).exists()

    def reboot(self, node: str) -> None:
        """Do as a machine that reboots: slurmd goes, and comes back with the word that it has booted."""
        self._slurmds.pop(node).end(signal.SIGKILL)
        (self._folder / "rebooted" / node).unlink(missing_ok=True)
        self._start_slurmd(node, "-b")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of Slurm's programs and return what it prints. Raises: subprocess.CalledProcessError."""
        return subprocess.run(
            [_program(program), *arguments],
            env={**os.environ, **self.environment},
            cwd=self._folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout

    @property
    def _configuration(self) -> Path:
        return self._folder / "slurm.conf"

    def _munge(self) -> list[str]:
        files = {
            "key-file": self._folder / "munge.key",
            "seed-file": self._folder / "munge.seed",
            "log-file": self._folder / "munged.log",
            "pid-file": self._folder / "munged.pid",
            "socket": self._sockets / "munge",
        }
        return [_program("munged"), *(f"--{name}={path}" for name, path in files.items())]

    def _start_slurmd(self, node: str, *more: str) -> None:
        command = [_program("slurmd"), "-D", "-f", str(self._configuration), "-N", node, *more]
        self._slurmds[node] = Process(command, self._folder / f"slurmd.{node}.out")

    def _idle(self) -> int:
        with suppress(subprocess.CalledProcessError):
            return self.run("scontrol", "show", "node", "-o").count(" State=IDLE ")
        return 0

    def _wait(self, what: Callable[[], bool], who: str, log: Path) -> None:
        end_s = time.monotonic() + 60
        while not what():
            if time.monotonic() > end_s:
                self.stop()
                said = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
                raise NotStarted(f"{who} is not ready:\n{said}")
            time.sleep(0.1)

    def _write_configuration(self) -> None:
        folder, user = self._folder, getuser()
        for name in ("state", "spool", "rebooted"):
            (folder / name).mkdir(exist_ok=True)
        program = folder / "reboot"
        program.write_text(_REBOOT.format(folder=folder / "rebooted"), encoding="utf-8")
        program.chmod(0o755)
        lines = [
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            f"SlurmctldPort={self._port}",
            f"AuthInfo=socket={self._sockets / 'munge'}",
            f"StateSaveLocation={folder / 'state'}",
            f"SlurmdSpoolDir={folder / 'spool'}/%n",
            f"SlurmctldPidFile={folder / 'slurmctld.pid'}",
            f"SlurmdPidFile={folder}/slurmd.%n.pid",
            f"SlurmctldLogFile={folder / 'slurmctld.log'}",
            f"SlurmdLogFile={folder}/slurmd.%n.log",
            f"RebootProgram={program}",
        ]
        nodes = [
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={_CPUS}"
            for node, port in self._ports.items()
        ]
        self._configuration.write_text("\n".join([*lines, *nodes, _SMALL]), encoding="utf-8")


def _program(name: str) -> str:
    found = shutil.which(name, path=_PLACES)
    if found is None:
        raise NotStarted(f"no {name} on the PATH")
    return found
