"""Read settings from the environment.

A missing or invalid value raises ImproperlyConfigured with a message how to fix it.
Every function also accepts ``NAME_FILE``, the path of a file with the value (Docker and
Kubernetes secrets).
"""

import os
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

_T = TypeVar("_T")
MAX_PORT = 65535
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def env_str(name: str, default: str | None = None, *, hint: str = "") -> str:
    """Return the value; a missing one without a default raises."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        return Path(path).read_text().strip()
    value = os.environ.get(name, default)
    if value is None:
        message = f"{name} is not set. Set {name}=… or {name}_FILE=/path. {hint}"
        raise ImproperlyConfigured(message.strip())
    return value


def env_int(name: str, default: int) -> int:
    """Return an integer."""
    return int(env_float(name, default))


def env_float(name: str, default: float) -> float:
    """Return a number."""
    value = env_str(name, str(default))
    try:
        return float(value)
    except ValueError:
        message = f"{name}={value!r} is not a number. Set a number, or unset it."
        raise ImproperlyConfigured(message) from None


def env_bool(name: str, *, default: bool) -> bool:
    """Return a boolean: 1/true/yes/on or 0/false/no/off."""
    value = env_str(name, str(default)).strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    message = f"{name}={value!r} is not a boolean. Use 1 or 0."
    raise ImproperlyConfigured(message)


def env_list(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list without empty entries."""
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def env_networks(name: str) -> list[str]:
    """Return a comma-separated list of valid addresses and CIDR blocks."""
    texts = env_list(name)
    for text in texts:
        try:
            ip_network(text)
        except ValueError as error:
            message = (
                f"{name}: {error}. Use addresses or CIDR blocks such as 10.0.0.0/8."
            )
            raise ImproperlyConfigured(message) from None
    return texts


def env_ports(name: str) -> range:
    """Return one port ("9464"), a range ("9464-9467") or none ("0" or empty)."""
    text = env_str(name, "0") or "0"
    first, _, last = text.partition("-")
    try:
        ports = range(int(first), int(last or first) + 1)
    except ValueError:
        ports = range(0)
    if ports == range(1):
        return range(0)
    if not ports or ports[0] < 1 or ports[-1] > MAX_PORT:
        message = f"{name}={text!r} is not a port. Use 9464, 9464-9467, or 0 for none."
        raise ImproperlyConfigured(message)
    return ports


def checked(name: str, value: _T, check: Callable[[_T], object]) -> _T:
    """Return the value; a ValueError of ``check`` raises ImproperlyConfigured."""
    try:
        check(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from None
    return value
