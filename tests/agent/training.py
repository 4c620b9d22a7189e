"""A training program for tests: notes that it began, and then does what its first argument says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

how, begun = sys.argv[1:3]
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with Path(begun).open("a", encoding="utf-8") as file:
    names = ("COMMAND", "ATTEMPT", "JOB", "ROLLBACK_CHECKPOINTS", "SKIP_BATCHES", "SECRET")
    file.write(" ".join([os.environ.get(f"RELIGHT_{name}", "-") for name in names]) + f" {os.getpid()}\n")
os.write(1, b"step 1 loss 2.5\n")
if how == "fail":
    os.write(2, b"out of luck\n")
    sys.exit(3)
if how == "done":
    sys.exit()
if how == "launcher":
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(f"{begun}.worker").write_text(str(worker.pid), encoding="utf-8")
time.sleep(600)
