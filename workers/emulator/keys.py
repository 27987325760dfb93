"""Who is calling: the key in the header, and the project it belongs to.

Keys that make the emulator refuse need no configuration: `bad-key`, `no-perm`,
`no-credit`, `no-model`.
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
# These keys are good, only not for transcription.
LISTEN_KEYS = {
    "no-credit": refusals.NO_CREDIT,
    "no-model": refusals.NO_MODEL_ACCESS,
}

_SCHEMES = frozenset({"token", "bearer"})
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://emulator.invalid/projects")
# A key this long may be a real one, pasted by mistake.
_LONGEST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A known key."""

    key: str
    project: str

    @property
    def project_id(self) -> str:
        """Return the project's UUID, the same in every run."""
        return project_id(self.project)

    @property
    def shown_key(self) -> str:
        """Return what of the key may stand in a log."""
        if len(self.key) <= _LONGEST_SHOWN:
            return self.key
        return f"{self.key[:4]}…{self.key[-4:]}"


class KeyRing:
    """Tell callers apart. Keys without a project of their own share one."""

    def __init__(
        self, *, allowed: frozenset[str] | None, projects: Mapping[str, str]
    ) -> None:
        self._allowed = allowed
        self._projects = projects

    def identify(self, authorization: str | None) -> Caller:
        """Return who calls, or raise Refused with a 401."""
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
    """Return the identifier under which the management API shows a key."""
    return str(uuid.uuid5(_NAMES, f"key/{shown_key}"))


def project_id(name: str) -> str:
    """Return the UUID of a project; a name that is one stands for itself."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(_NAMES, name))


def check_may_listen(caller: Caller) -> None:
    """Raise Refused when the key is good but may not transcribe."""
    refusal = LISTEN_KEYS.get(caller.key)
    if refusal is not None:
        raise refusals.Refused(refusal)
