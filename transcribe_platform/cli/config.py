"""Where the platform is and with which key: options, environment, file, in that order.

A key is sent only to the address that it was written down with: an address from another
place does not get the file's key.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_URL = "http://127.0.0.1:8000"


class ConfigError(Exception):
    """The configuration cannot be used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One platform and one key; ``warning`` is for the person, if there is one."""

    url: str
    api_key: str
    warning: str = ""


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where the file is, whether there is one or not."""
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "transcribe" / "config.toml"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where the journal is kept."""
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "transcribe"


def find_connection(
    *, url: str | None, profile: str | None, environment: Mapping[str, str]
) -> Connection:
    """Return the connection; raises ConfigError, which says how to mend it."""
    path = config_path(environment)
    said = "" if profile else environment.get("TRANSCRIBE_URL", "")
    key = "" if profile else environment.get("TRANSCRIBE_API_KEY", "")
    if key:
        return Connection(url=url or said or DEFAULT_URL, api_key=key)
    chosen = read_profile(
        path, profile=profile or environment.get("TRANSCRIBE_PROFILE")
    )
    known = str(chosen.get("url", DEFAULT_URL))
    wanted = url or said or known
    if not chosen.get("api_key"):
        raise ConfigError(
            "There is no API key. Set TRANSCRIBE_API_KEY=tp_live_…, "
            "or run: transcribe configure"
        )
    if wanted.rstrip("/") != known.rstrip("/"):
        raise ConfigError(
            f"The key in {path} is for {known}, not for {wanted}. "
            "Set TRANSCRIBE_API_KEY for it, or run: transcribe configure"
        )
    return Connection(
        url=known, api_key=str(chosen["api_key"]), warning=_who_can_read(path)
    )


def read_profile(path: Path, *, profile: str | None) -> dict[str, Any]:
    """Return what the file says of a profile, or of its default one."""
    content = read_file(path)
    profiles = content.get("profiles", {})
    name = profile or content.get("profile")
    if name is None:
        return content
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise ConfigError(
            f"There is no profile {name!r} in {path} (there: {known}). "
            f"Make it with: transcribe configure --profile {name}"
        )
    found: dict[str, Any] = profiles[name]
    return found


def read_file(path: Path) -> dict[str, Any]:
    """Return the file's content; no file is an empty one."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def write_profile(path: Path, *, name: str, url: str, api_key: str) -> None:
    """Write a profile and make it the default; only its owner can read the file."""
    profiles = dict(read_file(path).get("profiles", {}))
    profiles[name] = {"url": url, "api_key": api_key}
    lines = [f"profile = {_quoted(name)}"]
    for each, values in profiles.items():
        lines += ["", f"[profiles.{_quoted(each)}]"]
        lines += [f"{key} = {_quoted(str(value))}" for key, value in values.items()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    fresh.replace(path)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _who_can_read(path: Path) -> str:
    if os.name != "posix" or not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return ""
    return f"Others on this machine can read your key. Run: chmod 600 {path}"
