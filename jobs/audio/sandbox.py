"""Confine this process to its open files, with a seccomp filter (Linux).

Run by path in the probe's child, so it imports nothing of the platform. After
``confine`` the process can read and write its open files, manage its own memory and
threads, and exit. Every other system call fails with EPERM: it cannot open files or
sockets, nor start programs or processes. ``docs/adr/0020-confined-probes.md`` explains
why this is not a library.
"""

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Mapping, Sequence

_SET_NO_NEW_PRIVILEGES = 38
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TO_ALL_THREADS = 1
_CLONE_THREAD = 0x00010000

# Instructions of classic BPF (linux/bpf_common.h) and results (linux/seccomp.h).
_LOAD, _EQUALS, _HAS_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
# Offsets in struct seccomp_data; both machines are little-endian.
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# The number of each system call: on x86_64, on aarch64.
_CLONE, _CLONE3, _SECCOMP = (56, 220), (435, 435), (317, 277)
_ALLOWED: Mapping[str, tuple[int, int]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "fcntl": (72, 25),
    "gettimeofday": (96, 169),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    # glibc's fstat.
    "newfstatat": (262, 79),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "rseq": (334, 293),
}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_uint16),
        ("instructions", ctypes.POINTER(_Instruction)),
    )


def is_supported() -> bool:
    """Return whether the kernel and the machine can confine a process."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    action = ctypes.c_uint32(_ERRNO)
    return _seccomp(_GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0


def confine() -> None:
    """Permanently restrict this process to files that are already open.

    Raises OSError if the kernel rejects the filter.
    """
    rules = _build_rules(platform.machine())
    program = _Program(len(rules), (_Instruction * len(rules))(*rules))
    if _set_no_new_privileges() or _seccomp(
        _SET_MODE_FILTER, _TO_ALL_THREADS, ctypes.byref(program)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _set_no_new_privileges() -> int:
    """Disable set-user-id programs, which unprivileged filters require."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def _seccomp(operation: int, flags: int, argument: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = _on(platform.machine(), _SECCOMP)
    return int(libc.syscall(number, operation, flags, argument))


def _build_rules(machine: str) -> Sequence[_Instruction]:
    """Build the program: check the machine, then the number of the system call."""
    allowed = [_on(machine, numbers) for numbers in _ALLOWED.values()]
    # The four results follow the numbers and the seven instructions around them.
    refuse = len(allowed) + 7
    missing, allow, kill = refuse + 1, refuse + 2, refuse + 3
    clone3_at = len(allowed) + 3
    clone_at, flags_at = clone3_at + 1, clone3_at + 3
    numbers = (
        _Instruction(_EQUALS, allow - at - 1, 0, number)
        for at, number in enumerate(allowed, start=3)
    )
    return [
        _Instruction(_LOAD, 0, 0, _MACHINE),
        _Instruction(_EQUALS, 0, kill - 2, _MACHINES[machine]),
        _Instruction(_LOAD, 0, 0, _NUMBER),
        *numbers,
        # clone3's flags are in memory, which no filter can read: glibc then uses clone.
        _Instruction(_EQUALS, missing - clone3_at - 1, 0, _on(machine, _CLONE3)),
        # A new thread is allowed, a new process is not.
        _Instruction(_EQUALS, 0, refuse - clone_at - 1, _on(machine, _CLONE)),
        _Instruction(_LOAD, 0, 0, _FIRST_ARGUMENT),
        _Instruction(_HAS_BITS, allow - flags_at - 1, 0, _CLONE_THREAD),
        _Instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM),
        _Instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_RETURN, 0, 0, _KILL_PROCESS),
    ]


def _on(machine: str, numbers: tuple[int, int]) -> int:
    return numbers[list(_MACHINES).index(machine)]
