#!/usr/bin/env python
"""Django's command line."""

import os
import sys
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line, load_command_class
from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from transcribe_platform import statement_timeouts, stores
from transcribe_platform.cli.main import main
from workers.liveness import probe

# These make the environment that settings are read from (database and all), so they
# run without Django being set up.
EMBEDDED = {"run_platform", "run_demo"}
# Each with the settings of a run that lasts: see workers.embedded.plan.
RUN_SCRIPTS = ("var/manage", "var/processes/manage", "var/regions/manage")
# Printed instead of a traceback if `migrate` does not get a lock in time.
LOCKED = """\
migrate waited {seconds:g} s (MIGRATION_LOCK_SECONDS) for a lock that another
transaction holds, and stopped: all requests would wait behind it. The migrations before
this one are applied. End that transaction or wait for its end, then run migrate again:
  SELECT pid, xact_start, state, query FROM pg_stat_activity ORDER BY xact_start;"""


def run_on_stores(words: list[str]) -> None:
    """Run a command of Django; raises ImproperlyConfigured if TLS to a store fails."""
    if words[1:2] == ["run_dispatcher"]:  # it retries other errors of the stores
        stores.check_tls()
        statement_timeouts.limit_statements(settings.DISPATCHER_STATEMENT_SECONDS)
    if words[1:2] == ["migrate"] or "--migrate" in words:
        statement_timeouts.limit_locks(settings.MIGRATION_LOCK_SECONDS)
    try:
        execute_from_command_line(words)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            sys.exit(LOCKED.format(seconds=settings.MIGRATION_LOCK_SECONDS))
        stores.check_tls()  # the pool's error does not state the reason
        raise


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
    if sys.argv[1:2] == ["transcribe"]:  # the command line, which needs no Django
        sys.exit(main(sys.argv[2:]))
    if sys.argv[1:2] == ["probe"]:  # asked every few seconds; nor does it
        sys.exit(probe.main(sys.argv[2:]))
    try:
        if EMBEDDED.intersection(sys.argv[1:2]):
            load_command_class("workers", sys.argv[1]).run_from_argv(sys.argv)
        else:
            run_on_stores(sys.argv)
    except ImproperlyConfigured as error:
        # It says what to set; a traceback would bury that.
        here = [path for path in RUN_SCRIPTS if Path(path).exists()]
        sys.exit("\n".join([str(error), *(f"For the run here: {it} …" for it in here)]))
