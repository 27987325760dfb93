"""Read what somebody types into a search box: pure.

``refund delay`` both words, ``"not happy"`` a phrase, ``-delay`` not this,
``refund OR delay`` either, ``refun*`` what begins so. As ``websearch_to_tsquery`` has
it, and prefixes besides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from jobs.errors import InvalidRequest
from transcripts.search import languages as search_languages

MAX_LENGTH = 500
MAX_TERMS = 32
# Words as PostgreSQL counts them: each character of a script without spaces is one.
MAX_PHRASE_WORDS = 64
MAX_WORDS = 128
# Each prefix reads all words of the index that begin so.
MAX_PREFIXES = 8
MIN_PREFIX, MAX_PREFIX = 3, 64
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r'(?P<no>-?)"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+)')


class NotSearchable(InvalidRequest):
    """Nothing in the query can be looked for."""

    code = "query_not_searchable"


class TermKind(StrEnum):
    """How a term is matched."""

    PHRASE = "phrase"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word or phrase to be found, or not to be there."""

    text: str
    kind: TermKind = TermKind.PHRASE
    is_excluded: bool = False


Groups = list[list[Term]]


def parse_words(text: str) -> Groups:
    """Return alternatives, each a list of terms that must all hold.

    Raises NotSearchable for what is too much, too little, or exclusions alone.
    """
    if len(text) > MAX_LENGTH:
        _refuse(f"A query has at most {MAX_LENGTH} characters.")
    groups: Groups = [[]]
    for found in _TOKEN.finditer(text):
        if (found["word"] or "").lower() == "or":
            groups.append([])
        elif term := _read(found):
            groups[-1].append(term)
    groups = [group for group in groups if group]
    _check_amount([term for group in groups for term in group])
    if not groups:
        _refuse("There is no word to look for.")
    if any(all(term.is_excluded for term in group) for group in groups):
        _refuse("Say what to look for besides what to leave out.")
    return groups


def _check_amount(terms: Sequence[Term]) -> None:
    words = [len(_WORD.findall(term.text)) for term in terms]
    prefixes = [term for term in terms if term.kind is TermKind.PREFIX]
    if len(terms) > MAX_TERMS:
        _refuse(f"A query has at most {MAX_TERMS} words and phrases.")
    if any(number > MAX_PHRASE_WORDS for number in words):
        _refuse(f"A phrase has at most {MAX_PHRASE_WORDS} words.")
    if sum(words) > MAX_WORDS:
        _refuse(f"A query has at most {MAX_WORDS} words, those of phrases included.")
    if len(prefixes) > MAX_PREFIXES:
        _refuse(f"A query has at most {MAX_PREFIXES} words that end in *.")
    if any(len(term.text) > MAX_PREFIX for term in prefixes):
        _refuse(f"What stands before * has at most {MAX_PREFIX} characters.")


def _read(found: re.Match[str]) -> Term | None:
    if found["phrase"] is not None:
        text = found["phrase"]
        return _term(text, TermKind.PHRASE, is_excluded=bool(found["no"]))
    word = found["word"]
    text = word.lstrip("-")
    stem = text.rstrip("*")
    is_prefix = stem != text and stem.isalnum() and len(stem) >= MIN_PREFIX
    kind = TermKind.PREFIX if is_prefix else TermKind.PHRASE
    return _term(stem, kind, is_excluded=word.startswith("-"))


def _term(text: str, kind: TermKind, *, is_excluded: bool) -> Term | None:
    if not any(character.isalnum() for character in text):
        return None
    prepared = search_languages.prepare(text).strip()
    if kind is TermKind.PREFIX and len(prepared) < MIN_PREFIX:
        kind = TermKind.PHRASE  # characters that are one when they are normalized
    return Term(text=prepared, kind=kind, is_excluded=is_excluded)


def _refuse(message: str) -> NoReturn:
    raise NotSearchable(message, pointer="?q")
