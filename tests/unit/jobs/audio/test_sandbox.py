import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.audio import probe, sandbox

ROOT = Path(sandbox.__file__).parent.parent
needs_seccomp = pytest.mark.skipif(
    not sandbox.is_supported(), reason="this kernel has no seccomp"
)

ATTEMPTS = {
    "open a file": "open('/etc/passwd')",
    "open its own program": "open(sys.executable, 'rb')",
    "write a file": "os.open('/tmp/out', os.O_WRONLY | os.O_CREAT)",
    "list a folder": "os.listdir('/')",
    "remove a file": "os.unlink('/nowhere')",
    "open an IPv4 socket": "socket.socket(socket.AF_INET)",
    "open an IPv6 datagram socket": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "open a Unix socket": "socket.socket(socket.AF_UNIX)",
    "fork": "os.fork()",
    "start a program": "os.execv('/bin/sh', ['sh', '-c', 'true'])",
    "spawn a program": "subprocess.run(['/bin/true'])",
    "signal another process": "os.kill(os.getppid(), 0)",
    "trace another process": "trace()",
    "make a file in memory": "os.memfd_create('x')",
}
SCRIPT = """
import ctypes, os, runpy, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)

def trace():
    if libc.ptrace(16, os.getppid(), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")

runpy.run_path({sandbox!r})["confine"]()
try:
    {attempt}
except PermissionError:
    print("refused")
"""


def run(attempt):
    script = SCRIPT.format(sandbox=sandbox.__file__, attempt=attempt)
    ended = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, check=True, text=True
    )
    return ended.stdout.strip()


@needs_seccomp
@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_confined_process_may_not(attempt):
    assert run(attempt) == "refused"


@needs_seccomp
def test_a_confined_process_reads_computes_and_has_threads():
    work = (
        "size = len(os.read(0, 5)) + len(bytes(64 << 20));"
        " thread = threading.Thread(target=print, args=('worked', size));"
        " thread.start(); thread.join()"
    )
    script = SCRIPT.format(sandbox=sandbox.__file__, attempt=work)

    ended = subprocess.run(
        [sys.executable, "-I", "-c", script],
        input="audio",
        capture_output=True,
        check=True,
        text=True,
    )

    assert ended.stdout.strip() == f"worked {5 + (64 << 20)}"


@needs_seccomp
def test_a_filter_that_the_kernel_does_not_accept_is_an_error(monkeypatch):
    def refuse(*_args):
        ctypes.set_errno(22)
        return -1

    monkeypatch.setattr(sandbox, "_set_no_new_privileges", lambda: 0)
    monkeypatch.setattr(sandbox, "_seccomp", refuse)

    with pytest.raises(OSError, match="Invalid argument"):
        sandbox.confine()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_jump_of_the_program_ends_at_its_result(machine):
    rules = sandbox._build_rules(machine)
    results = {rule.operand: at for at, rule in enumerate(rules) if rule.code == 0x06}
    refuse, missing = results[0x00050001], results[0x00050026]
    allow, kill = results[0x7FFF0000], results[0x80000000]

    ends = {
        (rule.operand, kind): at + 1 + jump
        for at, rule in enumerate(rules)
        for kind, jump in (("true", rule.if_true), ("false", rule.if_false))
        if rule.code in {0x15, 0x45}
    }

    assert ends[sandbox._MACHINES[machine], "false"] == kill
    numbers = {sandbox._on(machine, each) for each in sandbox._ALLOWED.values()}
    assert {ends[number, "true"] for number in numbers} == {allow}
    assert ends[sandbox._on(machine, sandbox._CLONE3), "true"] == missing
    assert ends[sandbox._on(machine, sandbox._CLONE), "false"] == refuse
    assert ends[0x10000, "true"] == allow
    assert ends[0x10000, "false"] == refuse


def test_another_machine_is_not_supported_and_says_so_once(monkeypatch, caplog):
    probe.warn_if_unconfined()
    quiet = [record.message for record in caplog.records]

    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    probe.warn_if_unconfined()

    assert not quiet or not sandbox.is_supported()
    (record,) = caplog.records[len(quiet) :]
    assert "without a sandbox" in record.message
    assert record.levelname == "WARNING"
