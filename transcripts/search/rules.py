"""Translate a query to a PostgreSQL tsquery for each configuration.

PostgreSQL removes stop words and stems here, once, and receives its own output back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transcripts.search.query_language import Groups, NotSearchable, Term, TermKind

_LEXEME = re.compile(r"'((?:[^']|'')+)'(:\*)?")
_SELECT = """
SELECT name, ARRAY[{exact}]::text[], ARRAY[{loose}]::text[], ARRAY[{sought}]::text[]
FROM (SELECT name, name::regconfig AS rules FROM unnest(%(configs)s::text[]) AS name)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexeme:
    """A stemmed word of the query, or a prefix."""

    text: str
    is_prefix: bool

    def matches(self, other: str) -> bool:
        """Return whether a lexeme of the transcript matches this one."""
        return other.startswith(self.text) if self.is_prefix else other == self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigQuery:
    """The query for one configuration, as tsquery text.

    ``loose`` matches whenever ``exact`` does and can use the index: it replaces phrases
    by their words.
    """

    config: str
    exact: str
    loose: str
    lexemes: tuple[Lexeme, ...]


def build_queries(
    cursor: Any, *, words: Groups, configs: Sequence[str]
) -> list[ConfigQuery]:
    """Return the query for each configuration in which it is not empty.

    Raises NotSearchable if it is empty in all: it has only stop words.
    """
    if not configs:
        return []
    values: dict[str, Any] = {"configs": list(configs)}
    exact, loose, sought = [], [], []
    for group in words:
        terms = [(term, f"term_{len(values) + at}") for at, term in enumerate(group)]
        values |= {name: _format_term(term) for term, name in terms}
        exact.append(_all(_exact(term, name) for term, name in terms))
        loose.append(_all(_loose(term, name) for term, name in terms))
        positive = [(term, name) for term, name in terms if not term.is_excluded]
        sought.append(_all(_any_order(term, name) for term, name in positive))
    columns = {"exact": exact, "loose": loose, "sought": sought}
    cursor.execute(
        _SELECT.format(**{name: ", ".join(sql) for name, sql in columns.items()}),
        values,
    )
    queries = [found for row in cursor.fetchall() if (found := _parse_row(*row))]
    if not queries:
        message = "The query has only very frequent words. Add a more specific one."
        raise NotSearchable(message, pointer="?q")
    return queries


def _parse_row(
    config: str, exact: list[str], loose: list[str], sought: list[str]
) -> ConfigQuery | None:
    """Return the query without its empty alternatives; None if all are empty."""
    used = [number for number, text in enumerate(sought) if text]
    if not used:
        return None
    lexemes = {pair for number in used for pair in _LEXEME.findall(sought[number])}
    return ConfigQuery(
        config=config,
        exact=" | ".join(f"({exact[number]})" for number in used),
        loose=" | ".join(f"({loose[number]})" for number in used),
        lexemes=tuple(
            Lexeme(text=text.replace("''", "'"), is_prefix=bool(star))
            for text, star in sorted(lexemes)
        ),
    )


def _format_term(term: Term) -> str:
    return f"'{term.text}':*" if term.kind is TermKind.PREFIX else term.text


def _exact(term: Term, name: str) -> str:
    """Return the SQL of a term."""
    if term.kind is TermKind.PREFIX:
        sql = f"(to_tsquery(rules, %({name})s) || to_tsquery('simple', %({name})s))"
    else:
        sql = f"phraseto_tsquery(rules, %({name})s)"
    return f"(!! {sql})" if term.is_excluded else sql


def _loose(term: Term, name: str) -> str:
    """Return the SQL of the part of a term that can use the index.

    Empty for an excluded phrase: its words may occur elsewhere in the text.
    """
    if not term.is_excluded:
        return _any_order(term, name)
    sql = _exact(term, name)
    return f"CASE WHEN numnode({sql}) = 2 THEN {sql} ELSE ''::tsquery END"


def _any_order(term: Term, name: str) -> str:
    """Return the SQL of a term's words in any position."""
    if term.kind is TermKind.PREFIX:
        return _exact(term, name)
    return f"plainto_tsquery(rules, %({name})s)"


def _all(terms: Iterator[str]) -> str:
    return f"({' && '.join(terms)})::text"
