"""Parse a search query. Pure.

``refund delay`` needs both words, ``"not happy"`` is a phrase, ``-delay`` excludes,
``refund OR delay`` needs either, ``refun*`` is a prefix. The syntax of
``websearch_to_tsquery`` plus prefixes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from jobs.errors import InvalidRequest
from transcripts.search import normalization

MAX_LENGTH = 500
MAX_TERMS = 32
# As PostgreSQL counts words: each character of a script without spaces is one.
MAX_PHRASE_WORDS = 64
MAX_WORDS = 128
# Each prefix reads all index words that begin with it.
MAX_PREFIXES = 8
MIN_PREFIX, MAX_PREFIX = 3, 64
# A syllable of Korean has two or three sounds.
_MIN_HANGUL_PREFIX = 2
_HANGUL = range(0xAC00, 0xD7A4)
_TOKEN = re.compile(r'(?P<no>-?)"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+)')


class NotSearchable(InvalidRequest):
    """The query has nothing to search for."""

    code = "query_not_searchable"


class TermKind(StrEnum):
    """How a term is matched."""

    PHRASE = "phrase"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word or phrase that must occur, or must not."""

    text: str
    kind: TermKind = TermKind.PHRASE
    is_excluded: bool = False


Groups = list[list[Term]]


def parse_words(text: str) -> Groups:
    """Return alternatives, each a list of terms that must all match.

    Raises NotSearchable for a query that is too long, empty, or only excludes.
    """
    if len(text) > MAX_LENGTH:
        _refuse(f"A query has at most {MAX_LENGTH} characters.")
    groups: Groups = [[]]
    for found in _TOKEN.finditer(text):
        if (found["word"] or "").lower() == "or":
            groups.append([])
        elif term := _parse_term(found):
            groups[-1].append(term)
    groups = [group for group in groups if group]
    _check_size([term for group in groups for term in group])
    if not groups:
        _refuse("The query has no words.")
    if any(all(term.is_excluded for term in group) for group in groups):
        _refuse("The query only excludes words. Add a word to search for.")
    return groups


def _check_size(terms: Sequence[Term]) -> None:
    words = [len(normalization.segment(term.text)) for term in terms]
    prefixes = [term for term in terms if term.kind is TermKind.PREFIX]
    if len(terms) > MAX_TERMS:
        _refuse(f"A query has at most {MAX_TERMS} words and phrases.")
    if any(number > MAX_PHRASE_WORDS for number in words):
        _refuse(f"A phrase has at most {MAX_PHRASE_WORDS} words.")
    if sum(words) > MAX_WORDS:
        _refuse(f"A query has at most {MAX_WORDS} words, including those of phrases.")
    if len(prefixes) > MAX_PREFIXES:
        _refuse(f"A query has at most {MAX_PREFIXES} prefixes.")
    if any(len(term.text) > MAX_PREFIX for term in prefixes):
        _refuse(f"A prefix has at most {MAX_PREFIX} characters.")


def _parse_term(found: re.Match[str]) -> Term | None:
    if found["phrase"] is not None:
        text = found["phrase"]
        return _build_term(text, TermKind.PHRASE, is_excluded=bool(found["no"]))
    word = found["word"]
    text = word.lstrip("-")
    stem = text.rstrip("*")
    kind = TermKind.PREFIX if stem != text else TermKind.PHRASE
    return _build_term(stem, kind, is_excluded=word.startswith("-"))


def _build_term(text: str, kind: TermKind, *, is_excluded: bool) -> Term | None:
    segments = normalization.segment(text)
    if not segments:
        return None
    if kind is TermKind.PREFIX and not _is_prefix(segments):
        kind = TermKind.PHRASE
    normal = normalization.normalize(text).strip()
    return Term(text=normal, kind=kind, is_excluded=is_excluded)


def _is_prefix(segments: Sequence[normalization.IndexedWord]) -> bool:
    """Return whether the text is one word that is long enough."""
    first = segments[0]
    is_hangul = ord(first.text[0]) in _HANGUL
    shortest = _MIN_HANGUL_PREFIX if is_hangul else MIN_PREFIX
    return len(segments) == 1 and not first.is_unspaced and len(first.text) >= shortest


def _refuse(message: str) -> NoReturn:
    raise NotSearchable(message, pointer="?q")
