"""Runs one command on given cores and reports what it cost: `launch.py REPORT CORES LIMIT_S COMMAND...`.

A process of its own, with nothing imported but the standard library: a child's peak memory begins at that of the
process it was forked from, and this one is small.
"""

import json
import os
import signal
import sys
import time


def main() -> None:
    """Run the command and write the report, as JSON. Standard output and error are the command's."""
    report, cores, limit_s, *command = sys.argv[1:]
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)  # noqa: S606  no shell is wanted
        except OSError as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(127)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(int(limit_s))
    _, status, used = os.wait4(child, 0)
    cost = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w", encoding="ascii") as file:
        json.dump(cost, file)


if __name__ == "__main__":
    main()
