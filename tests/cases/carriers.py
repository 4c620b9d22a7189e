"""What carries a program's lines to a file: syslog, journald, container runtimes, launchers. Each wraps one line.

The formats are those of RFC 3164, RFC 5424, systemd's JSON export, CRI, Docker's json-file, `srun --label`, pdsh, and
torchrun's `--tee`.
"""

import json
from collections.abc import Callable

import wording
from cluster import BOOT_S, Line, Writer

Carrier = Callable[[Line], str]


def _tag(line: Line) -> str:
    return "kernel" if line.writer is Writer.KERNEL else "torchrun[4100]"


def plain(line: Line) -> str:
    return line.text


def syslog_rfc3164(line: Line) -> str:
    day = wording.stamp(line.at_s, "%d").lstrip("0").rjust(2)
    when = wording.stamp(line.at_s, f"%b {day} %H:%M:%S")
    return f"{when} {line.host} {_tag(line)}: {line.text}"


def syslog_iso(line: Line) -> str:
    return f"{wording.iso(line.at_s)} {line.host} {_tag(line)}: {line.text}"


def syslog_rfc5424(line: Line) -> str:
    kernel = line.writer is Writer.KERNEL
    priority, name, pid = (4, "kernel", "-") if kernel else (14, "torchrun", "4100")
    return f"<{priority}>1 {wording.iso(line.at_s)} {line.host} {name} {pid} - - {line.text}"


def journald(line: Line) -> str:
    kernel = line.writer is Writer.KERNEL
    record = {
        "__REALTIME_TIMESTAMP": str(round(line.at_s * 1e6)),
        "_HOSTNAME": line.host,
        "PRIORITY": "4" if kernel else "6",
        "SYSLOG_FACILITY": "0" if kernel else "3",
        "_TRANSPORT": "kernel" if kernel else "stdout",
        "SYSLOG_IDENTIFIER": "kernel" if kernel else "torchrun",
        "MESSAGE": line.text,
    }
    return json.dumps(record)


def dmesg(line: Line) -> str:
    return f"[{line.at_s - BOOT_S:12.6f}] {line.text}"


def dmesg_with_dates(line: Line) -> str:
    return f"[{wording.stamp(line.at_s, '%a %b %d %H:%M:%S %Y')}] {line.text}"


def cri(line: Line) -> str:
    return f"{wording.stamp(line.at_s, '%Y-%m-%dT%H:%M:%S.%f')}000Z stderr F {line.text}"


def docker_json_file(line: Line) -> str:
    time = wording.stamp(line.at_s, "%Y-%m-%dT%H:%M:%S.%f") + "000Z"
    return json.dumps({"log": f"{line.text}\n", "stream": "stderr", "time": time})


def srun_label(line: Line) -> str:
    task = line.rank if line.rank is not None else 8 * (int(line.host.removeprefix("node")) - 1)
    return f"{task:>3}: {line.text}"


def pdsh(line: Line) -> str:
    return f"{line.host}: {line.text}"


def torchrun_tee(line: Line) -> str:
    return line.text if line.rank is None else f"[default{line.rank % 8}]:{line.text}"
