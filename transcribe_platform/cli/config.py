"""URL and API key: from options, environment or configuration file, in this order.

A key from the file is sent only to the URL in its profile.
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
    """The configuration is missing or invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """URL and API key; ``warning`` is shown to the user unless empty."""

    url: str
    api_key: str
    warning: str = ""


def config_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the configuration file, which may not exist."""
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "transcribe" / "config.toml"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the journal."""
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "transcribe"


def find_connection(
    *, url: str | None, profile: str | None, environment: Mapping[str, str]
) -> Access:
    """Return the connection; raises ConfigError."""
    path = config_path(environment)
    url_from_environment = "" if profile else environment.get("TRANSCRIBE_URL", "")
    key = "" if profile else environment.get("TRANSCRIBE_API_KEY", "")
    if key:
        return Access(url=url or url_from_environment or DEFAULT_URL, api_key=key)
    values = read_profile(
        path, profile=profile or environment.get("TRANSCRIBE_PROFILE")
    )
    profile_url = str(values.get("url", DEFAULT_URL))
    requested_url = url or url_from_environment or profile_url
    if not values.get("api_key"):
        raise ConfigError(
            "No API key is configured. Set TRANSCRIBE_API_KEY=tp_live_…, "
            "or run: transcribe configure"
        )
    if requested_url.rstrip("/") != profile_url.rstrip("/"):
        raise ConfigError(
            f"The key in {path} is for {profile_url}, not for {requested_url}. "
            "Set TRANSCRIBE_API_KEY for this URL, or run: transcribe configure"
        )
    return Access(
        url=profile_url,
        api_key=str(values["api_key"]),
        warning=_check_permissions(path),
    )


def read_profile(path: Path, *, profile: str | None) -> dict[str, Any]:
    """Return the values of a profile, or of the default profile."""
    content = read_file(path)
    profiles = content.get("profiles", {})
    name = profile or content.get("profile")
    if name is None:
        return content
    if name not in profiles:
        names = ", ".join(sorted(profiles)) or "none"
        raise ConfigError(
            f"Profile {name!r} is not in {path} (profiles: {names}). "
            f"Create it with: transcribe configure --profile {name}"
        )
    values: dict[str, Any] = profiles[name]
    return values


def read_file(path: Path) -> dict[str, Any]:
    """Return the content of the file, empty if it does not exist."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def write_profile(path: Path, *, name: str, url: str, api_key: str) -> None:
    """Write a profile and make it the default. The file has mode 600."""
    profiles = dict(read_file(path).get("profiles", {}))
    profiles[name] = {"url": url, "api_key": api_key}
    lines = [f"profile = {_quoted(name)}"]
    for profile, values in profiles.items():
        lines += ["", f"[profiles.{_quoted(profile)}]"]
        lines += [f"{key} = {_quoted(str(value))}" for key, value in values.items()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    temporary.replace(path)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _check_permissions(path: Path) -> str:
    if os.name != "posix" or not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return ""
    return f"Other users of this machine can read your API key. Run: chmod 600 {path}"
