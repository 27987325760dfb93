"""Take a run's folder through docs/backup.md: its own commands, into another cluster."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import servers
from tests.support import ROOT
from workers.embedded import binaries


def move(old: Path, new: Path) -> None:
    """Back up a folder that no platform runs on; restore it as another one."""
    backup = old.with_name("backup")
    backup.mkdir()
    _run("backup", old, backup)
    new.mkdir()
    shutil.copy(old / "secrets.json", new / "secrets.json")
    _run("restore", new, backup)


def _run(name: str, folder: Path, backup: Path) -> None:
    page = (ROOT / "docs" / "backup.md").read_text()
    (block,) = re.findall(rf"^```sh {name}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    # The last life on it ended seconds ago.
    block = block.replace("after_restore", "after_restore --although-alive")
    kept = json.loads((folder / "secrets.json").read_text())
    programs = (Path(sys.executable).parent, binaries.find_postgres())
    server = servers.start_postgres(folder / "postgres", durable=True)
    try:
        subprocess.run(
            ["sh", "-eu", "-c", block],
            check=True,
            cwd=ROOT,
            env={
                "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
                "BACKUP": str(backup),
                "DATABASE_URL": server.url,
                "REDIS_URL": "redis://127.0.0.1:1/0",
                "MEDIA_ROOT": str(folder / "media"),
                "SECRET_KEY": kept["secret_key"],
                "FIELD_ENCRYPTION_KEYS": kept["field_encryption_key"],
            },
        )
    finally:
        server.stop()
