"""Runs Python in processes of their own that need not import the libraries again.

`run_python` is `subprocess.run` for a script, a module or a text. Its processes are
forks of one that has imported the libraries, but no settings: that halves their cost.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from tests.support import ROOT

# What the first process needs; each fork gets an environment of its own.
ENVIRONMENT = ("PATH", "HOME", "LANG", "PYTHONPYCACHEPREFIX")
# None of these reads settings or starts a thread.
LIBRARIES = (
    *("django.core.management.base", "django.db.backends.postgresql.base"),
    *("django.contrib.postgres.fields", "django.core.files.storage", "django.forms"),
    *("celery.bin.celery", "celery.app.base", "kombu.transport.redis", "psycopg_pool"),
    *("redis.asyncio", "cryptography.fernet", "deepgram.base_client", "httpx", "regex"),
    *("prometheus_client", "limits.strategies", "tornado.web", "wcwidth"),
)


def run_python(
    words: Sequence[str], *, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run ("-c", text), ("-m", module, …) or (script, …) in the tree's folder."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        server = _start_server()
        assert server.stdin
        assert server.stdout
        json.dump([list(words), dict(environment), outputs], server.stdin)
        server.stdin.write("\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        texts = [Path(path).read_text() for path in outputs]
    return subprocess.CompletedProcess(list(words), code, *texts)


@cache
def _start_server() -> "subprocess.Popen[str]":
    server = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env={key: os.environ[key] for key in ENVIRONMENT if key in os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def _serve() -> list[str]:
    """Fork for each line of the input; return the words to run in the fork."""
    for name in LIBRARIES:
        import_module(name)
    for line in sys.stdin:
        words, environment, outputs = json.loads(line)
        if (child := os.fork()) == 0:
            _prepare(environment, outputs)
            return words
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    sys.exit()


def _prepare(environment: dict[str, str], outputs: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((0, os.devnull), *enumerate(outputs, start=1)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)


def _run(words: list[str]) -> None:
    kind, *rest = words
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    _run(_serve())
