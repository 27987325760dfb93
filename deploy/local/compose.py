"""Reads docker-compose.yml and haproxy.cfg, to run the services as plain processes.

Reads command, environment, replicas and stop grace period. `make check-deploy` compares
the result with Docker Compose's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workers.embedded.plan import ROOT
from workers.embedded.processes import EmbeddedError

COMPOSE = ROOT / "docker-compose.yml"
HAPROXY = ROOT / "deploy" / "haproxy" / "haproxy.cfg"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_TEMPLATE = re.compile(
    r'(?<! )( ++)server-template (\w++) \d++ "[\w.]++:\d++" resolvers \w++\n'
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeService:
    """A service of the platform in the compose file; ``grace`` in seconds."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    replicas: int
    grace: float


def read_services(
    values: Mapping[str, str], path: Path = COMPOSE
) -> list[ComposeService]:
    """Return the services of the platform's image, with variables substituted.

    Raises EmbeddedError for a required variable that is not set.
    """
    return [
        _read(name, service, values)
        for name, service in _load(path).items()
        if "build" in service
    ]


def read_command(name: str, path: Path = COMPOSE) -> list[str]:
    """Return the command of a third-party service."""
    return [str(word) for word in _load(path)[name]["command"]]


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Substitute variables as Compose does."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        known = values.get(name, "")
        if not known and kind == "?":
            raise EmbeddedError(f"{COMPOSE.name} requires the variable {name}.")
        return known or default or ""

    return _VARIABLE.sub(value, text)


def name_servers(config: str, servers: Mapping[str, Sequence[str]]) -> str:
    """Replace the DNS lookups in HAProxy's configuration by addresses."""

    def lines(found: re.Match[str]) -> str:
        indent, name = found.groups()
        return "".join(
            f"{indent}server {name}{number} {address}\n"
            for number, address in enumerate(servers[name], 1)
        )

    return _TEMPLATE.sub(lines, config)


def _load(path: Path) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(path.read_text())["services"]
    return services


def _read(
    name: str, service: Mapping[str, Any], values: Mapping[str, str]
) -> ComposeService:
    grace = str(service.get("stop_grace_period", "10s"))
    return ComposeService(
        name=name,
        command=tuple(fill_in(str(word), values) for word in service["command"]),
        environment={
            key: fill_in(str(text), values)
            for key, text in service.get("environment", {}).items()
        },
        replicas=service["deploy"].get("replicas", 1),
        grace=float(grace[:-1]) * _SECONDS[grace[-1]],
    )
