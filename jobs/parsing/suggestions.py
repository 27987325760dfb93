"""The name that a caller probably meant by an unknown one. Pure."""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path

# Longer names are not typos, and comparing them costs time.
_MAX_TYPO_LENGTH = 64
_TABLE = tomllib.loads(
    (Path(__file__).parents[1] / "option_values.toml").read_text("utf-8")
)
_MEANINGS = {
    synonym: name for name, words in _TABLE["synonyms"].items() for synonym in words
}


def hint(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean '…'?" with the closest known name, or an empty text."""
    found = closest(name, known)
    return f" Did you mean '{found}'?" if found else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant: a synonym, or a typo of it.

    Compares names with and without their prefix, such as ``options.``.
    """
    by_plain = {_plain(each.rpartition(".")[2]): each for each in known if each}
    by_plain |= {_plain(each): each for each in by_plain.values()}
    plain = _plain(name[:_MAX_TYPO_LENGTH])
    for candidate in (plain, _MEANINGS.get(plain, "")):
        if candidate in by_plain:
            return by_plain[candidate]
    matches = difflib.get_close_matches(plain, by_plain, n=1)
    return by_plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    """Return a name in snake case: ``audioUrl`` and ``Audio-URL`` are ``audio_url``."""
    spaced = "".join(
        f"_{c}" if c.isupper() and before.islower() else c
        for before, c in zip(f" {name}", name, strict=False)
    )
    return spaced.replace("-", "_").replace(" ", "_").strip("_").casefold()
