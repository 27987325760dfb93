"""Data folders of the servers: location, ownership, passwords and locks."""

import atexit
import os
import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from workers.embedded import binaries, processes
from workers.embedded.processes import Account, EmbeddedError

PREVIOUS_OWNER_SECONDS = 20.0
PERSISTENT_ELSEWHERE = Path("/var/lib/transcribe-platform")


def home(data_dir: Path, account: Account | None, *, durable: bool) -> Path:
    """Return the data folder, or a substitute that the server account can reach.

    The symlink `elsewhere` in the data folder points to the substitute.
    """
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    if account is None or binaries.can_enter(data_dir):
        return data_dir
    pointer = data_dir / "elsewhere"
    if not pointer.exists():
        pointer.unlink(missing_ok=True)  # its target was deleted
        pointer.symlink_to(_create_substitute(durable=durable))
    return pointer.resolve()


def _create_substitute(*, durable: bool) -> Path:
    if not durable:
        home = binaries.scratch_folder("transcribe-data-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        return home
    PERSISTENT_ELSEWHERE.mkdir(mode=0o711, parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="data-", dir=PERSISTENT_ELSEWHERE))
    home.chmod(0o711)
    return home


def own(folder: Path, account: Account | None) -> None:
    """Create the folder if needed, accessible by the server account only."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(folder, account.uid, account.gid)


def password(home: Path) -> str:
    """Return the server's password, generated on the first start."""
    path = home / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(18), None)
    return path.read_text()


def write_private(path: Path, text: str, owner: Account | None) -> None:
    """Write a file atomically with mode 600."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text)
    if owner:
        os.chown(partial, owner.uid, owner.gid)
    partial.replace(path)


def wait_for_previous(pid_file: Path, folder: Path) -> None:
    """Wait until the server of the last run has ended; remove a stale pid file.

    PostgreSQL removes it too, unless another process of the same account, such as
    Valkey, has the pid now.
    """
    with suppress(FileNotFoundError, ValueError):
        pid = int(re.split(r"\s", pid_file.read_text(), maxsplit=1)[0])
        if not processes.wait_until(
            lambda: not _has_working_directory(pid, folder),
            seconds=PREVIOUS_OWNER_SECONDS,
        ):
            raise EmbeddedError(f"{folder} is in use by process {pid}. Stop it first.")
        if Path(f"/proc/{pid}").exists():
            pid_file.unlink(missing_ok=True)


def _has_working_directory(pid: int, folder: Path) -> bool:
    """Return whether `folder` is the working directory of the process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    return False
