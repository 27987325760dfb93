"""Authenticates callers: the API key and its project.

These keys are always refused: `bad-key`, `no-perm`, `no-credit`, `no-model`.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from workers.emulator.protocol import refusals

DEFAULT_PROJECT = "default"
MAGIC_KEYS = {
    "bad-key": refusals.INVALID_AUTH,
    "no-perm": refusals.NO_PERMISSION,
}
# Valid keys that may not transcribe.
LISTEN_KEYS = {
    "no-credit": refusals.NO_CREDIT,
    "no-model": refusals.NO_MODEL_ACCESS,
}

_SCHEMES = frozenset({"token", "bearer"})
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://emulator.invalid/projects")
# Longer keys may be real ones, pasted by mistake; the log shortens them.
_MAX_SHOWN_LENGTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An accepted key and its project."""

    key: str
    project: str

    @property
    def project_id(self) -> str:
        """Return the project's UUID, equal in every run."""
        return project_id(self.project)

    @property
    def shown_key(self) -> str:
        """Return the key as shown in the log, shortened if long."""
        if len(self.key) <= _MAX_SHOWN_LENGTH:
            return self.key
        return f"{self.key[:4]}…{self.key[-4:]}"


class KeyRing:
    """Identifies callers by key. Keys without a configured project share one."""

    def __init__(
        self, *, allowed: frozenset[str] | None, projects: Mapping[str, str]
    ) -> None:
        self._allowed = allowed
        self._projects = projects

    def identify(self, authorization: str | None) -> Caller:
        """Return the caller, or raise Refused with a 401."""
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() not in _SCHEMES or not key:
            raise refusals.Refused(refusals.INVALID_AUTH)
        if key in MAGIC_KEYS:
            raise refusals.Refused(MAGIC_KEYS[key])
        if self._allowed is not None and key not in self._allowed:
            raise refusals.Refused(refusals.INVALID_AUTH)
        return Caller(key=key, project=self._projects.get(key, DEFAULT_PROJECT))


def key_id(shown_key: str) -> str:
    """Return the id of a key in the management API."""
    return str(uuid.uuid5(_NAMES, f"key/{shown_key}"))


def project_id(name: str) -> str:
    """Return the UUID of a project; a name that is a UUID is returned unchanged."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(_NAMES, name))


def check_transcription_access(caller: Caller) -> None:
    """Raise Refused when the key is valid but may not transcribe."""
    refusal = LISTEN_KEYS.get(caller.key)
    if refusal is not None:
        raise refusals.Refused(refusal)
