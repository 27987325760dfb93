"""What is left after an attack: files, sockets, processes, threads and permits.

``look`` counts it, ``wait_until_gone`` compares with before and waits, a minute at
most, until nothing more is there than before.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

LIMIT_SECONDS = 60.0
# Threads that the servers' own pools keep for a while: the event loop's executor.
_POOLED_THREADS = (os.cpu_count() or 1) + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The servers by the ports where they listen, their temporary folders, and Redis."""

    servers: dict[int, int]  # port → process id
    folders: tuple[Path, ...]
    redis_url: str

    def look(self) -> Counter[str]:
        """Count what there is."""
        found: Counter[str] = Counter(files=sum(map(_count_files, self.folders)))
        for port, pid in self.servers.items():
            for process in _tree(pid):
                _add(found, process, port, self.folders)
        with redis.Redis.from_url(self.redis_url) as client:
            held = [
                key
                for key in client.scan_iter("permits:*:held")
                if _is_set(client, key)
            ]
            found["permits"] = sum(int(client.zcard(key)) for key in held)
        return found

    def wait_until_gone(
        self, before: Counter[str], *, seconds: float = LIMIT_SECONDS
    ) -> Counter[str]:
        """Return what is there beyond ``before`` when the time is over; ideally none."""
        before = before + Counter(threads=_POOLED_THREADS)
        deadline = time.monotonic() + seconds
        while (more := self.look() - before) and time.monotonic() < deadline:
            time.sleep(0.2)
        return more


def _is_set(client: "redis.Redis", key: bytes) -> bool:
    return client.type(key) == b"zset"


def _count_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _tree(pid: int) -> Iterable[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _add(
    found: Counter[str], process: psutil.Process, port: int, folders: Iterable[Path]
) -> None:
    try:
        found["processes"] += 1
        found["threads"] += process.num_threads()
        found["sockets"] += sum(
            link.laddr.port == port and link.status != psutil.CONN_LISTEN
            for link in process.net_connections("tcp")
        )
        found["open files"] += sum(
            any(str(folder) in target for folder in folders)
            for target in _descriptors(process.pid)
        )
    except psutil.NoSuchProcess:
        return  # it ended meanwhile


def _descriptors(pid: int) -> list[str]:
    """Return what each descriptor of the process leads to."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found
