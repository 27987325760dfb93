"""Have PostgreSQL write a query by the rules of each language that it may meet.

Its own writing goes back to it: what a stop word is and how a word is cut is decided
here, once, and shown in the plan.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transcripts.search.words import Groups, NotSearchable, Term, TermKind

_LEXEME = re.compile(r"'((?:[^']|'')+)'(:\*)?")
_SELECT = """
SELECT name, ARRAY[{exact}]::text[], ARRAY[{loose}]::text[], ARRAY[{sought}]::text[]
FROM (SELECT name, name::regconfig AS rules FROM unnest(%(configs)s::text[]) AS name)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexeme:
    """What is looked for of a word: all of it, or how it begins."""

    text: str
    is_prefix: bool

    def matches(self, other: str) -> bool:
        """Tell whether a lexeme of a text is what is looked for."""
        return other.startswith(self.text) if self.is_prefix else other == self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigQuery:
    """The words by the rules of one configuration, in PostgreSQL's own writing.

    ``loose`` holds wherever ``exact`` does, and is all that an index can answer:
    phrases are only the words of them.
    """

    config: str
    exact: str
    loose: str
    lexemes: tuple[Lexeme, ...]


def write_queries(
    cursor: Any, *, words: Groups, configs: Sequence[str]
) -> list[ConfigQuery]:
    """Return the query by each configuration that leaves something to look for.

    Raises NotSearchable where none does: there are only words that every text has.
    """
    if not configs:
        return []
    values: dict[str, Any] = {"configs": list(configs)}
    exact, loose, sought = [], [], []
    for group in words:
        terms = [(term, f"term_{len(values) + at}") for at, term in enumerate(group)]
        values |= {name: _written(term) for term, name in terms}
        exact.append(_all(_exact(term, name) for term, name in terms))
        loose.append(_all(_loose(term, name) for term, name in terms))
        positive = [(term, name) for term, name in terms if not term.is_excluded]
        sought.append(_all(_apart(term, name) for term, name in positive))
    columns = {"exact": exact, "loose": loose, "sought": sought}
    cursor.execute(
        _SELECT.format(**{name: ", ".join(sql) for name, sql in columns.items()}),
        values,
    )
    queries = [found for row in cursor.fetchall() if (found := _read(*row))]
    if not queries:
        message = "These words are in nearly every transcript: add one that is not."
        raise NotSearchable(message, pointer="?q")
    return queries


def _read(
    config: str, exact: list[str], loose: list[str], sought: list[str]
) -> ConfigQuery | None:
    """Return the query, without the alternatives that look for nothing."""
    kept = [number for number, text in enumerate(sought) if text]
    if not kept:
        return None
    lexemes = {pair for number in kept for pair in _LEXEME.findall(sought[number])}
    return ConfigQuery(
        config=config,
        exact=" | ".join(f"({exact[number]})" for number in kept),
        loose=" | ".join(f"({loose[number]})" for number in kept),
        lexemes=tuple(
            Lexeme(text=text.replace("''", "'"), is_prefix=bool(star))
            for text, star in sorted(lexemes)
        ),
    )


def _written(term: Term) -> str:
    return f"'{term.text}':*" if term.kind is TermKind.PREFIX else term.text


def _exact(term: Term, name: str) -> str:
    """Return the SQL of a term as it is meant."""
    if term.kind is TermKind.PREFIX:
        sql = f"(to_tsquery(rules, %({name})s) || to_tsquery('simple', %({name})s))"
    else:
        sql = f"phraseto_tsquery(rules, %({name})s)"
    return f"(!! {sql})" if term.is_excluded else sql


def _loose(term: Term, name: str) -> str:
    """Return the SQL of what the index can say of a term.

    Of an excluded phrase it can say nothing: its words may well stand elsewhere.
    """
    if not term.is_excluded:
        return _apart(term, name)
    sql = _exact(term, name)
    return f"CASE WHEN numnode({sql}) = 2 THEN {sql} ELSE ''::tsquery END"


def _apart(term: Term, name: str) -> str:
    """Return the SQL of a term's words, wherever they stand."""
    if term.kind is TermKind.PREFIX:
        return _exact(term, name)
    return f"plainto_tsquery(rules, %({name})s)"


def _all(terms: Iterator[str]) -> str:
    return f"({' && '.join(terms)})::text"
