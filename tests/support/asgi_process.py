"""The platform as a real ASGI process on the test's database."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from django.db import connection

from tests.support import ROOT
from tests.support.database import admin_connection, database_url
from workers.embedded.probes import http_answers
from workers.embedded.processes import free_port, log_tail, wait_until


class AsgiProcess:
    """A real ASGI process on the test's database."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.name = f"door-{self.port}"  # how the database knows it
        self.log = folder / f"granian-{self.port}.log"
        url = database_url(connection.settings_dict["NAME"])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (
                    *(sys.executable, "-m", "granian", "--interface", "asgi"),
                    *("--runtime-mode", "mt", "--runtime-threads", "4"),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    "transcribe_platform.asgi:application",
                ),
                cwd=ROOT,
                env={
                    **os.environ,
                    "DATABASE_URL": url,
                    "PGAPPNAME": self.name,
                    **settings,
                },
                stdout=log,
                stderr=log,
            )

    def wait(self) -> "AsgiProcess":
        url = f"http://127.0.0.1:{self.port}/health/live"
        assert wait_until(lambda: http_answers(url), seconds=60), log_tail(self.log)
        return self

    def stop(self) -> int:
        """End it in order, and wait until the database has seen it go."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        finally:
            self.process.kill()
            self.process.wait()
        assert wait_until(self.is_gone, seconds=10)
        return self.process.returncode

    def is_gone(self) -> bool:
        """Tell whether the database has no connection of it any more."""
        asked = "SELECT FROM pg_stat_activity WHERE application_name = %s"
        with admin_connection() as admin:
            return admin.execute(asked, [self.name]).fetchone() is None
