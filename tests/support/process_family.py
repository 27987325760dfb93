"""Programs for a supervisor: a parent with a child that only SIGKILL ends."""

import sys
from pathlib import Path

from workers.embedded.processes import ProcessCommand
from workers.embedded.supervisor import (
    Program,
)

# A parent with a child that nothing but SIGKILL ends: what a web server's workers are
# when their parent is gone.
FAMILY = """
import os, signal, subprocess, sys, time
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
signal.signal(signal.SIGTERM, lambda *_: (print("ended", flush=True), os._exit(0)))
time.sleep(0.1)
print("family", os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def python(code: str, log: Path) -> ProcessCommand:
    return ProcessCommand(argv=(sys.executable, "-c", code), log=log)


def family(folder: Path, name: str = "family", stage: int = 1) -> Program:
    return Program(
        name=name,
        command=python(FAMILY, folder / f"{name}.log"),
        ready=lambda started: started.has_logged("family"),
        stage=stage,
        grace=5,
    )
