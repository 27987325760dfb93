"""Translate a query to a PostgreSQL tsquery for each configuration.

PostgreSQL removes stop words and stems here, once, and receives its own output back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transcripts.search import languages, normalization
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
    """The query for entries of one configuration and rule, as tsquery text.

    ``loose`` matches whenever ``exact`` does and can use the index: it replaces phrases
    by their words.
    """

    config: str
    rule: int
    exact: str
    loose: str
    lexemes: tuple[Lexeme, ...]


def build_queries(
    cursor: Any, *, words: Groups, configs: Sequence[str], rules: Sequence[int]
) -> list[ConfigQuery]:
    """Return the query for each configuration and rule in which it is not empty.

    Raises NotSearchable if it is empty in all: it has only stop words.
    """
    if not configs:
        return []
    queries = [
        query
        for rule in rules
        for query in _build_queries(cursor, words, configs=configs, rule=rule)
    ]
    if not queries:
        message = "The query has only very frequent words. Add a more specific one."
        raise NotSearchable(message, pointer="?q")
    return queries


def _build_queries(
    cursor: Any, words: Groups, *, configs: Sequence[str], rule: int
) -> list[ConfigQuery]:
    values: dict[str, Any] = {"configs": list(configs)}
    exact, loose, sought = [], [], []
    for group in words:
        terms = [_TermSql.build(term, rule, values) for term in group]
        exact.append(_all(term.exact for term in terms))
        loose.append(_all(term.loose for term in terms))
        sought.append(_all(term.any_order for term in terms if not term.is_excluded))
    columns = {"exact": exact, "loose": loose, "sought": sought}
    cursor.execute(
        _SELECT.format(**{name: ", ".join(sql) for name, sql in columns.items()}),
        values,
    )
    return [found for row in cursor.fetchall() if (found := _parse_row(rule, *row))]


def _parse_row(
    rule: int, config: str, exact: list[str], loose: list[str], sought: list[str]
) -> ConfigQuery | None:
    """Return the query without its empty alternatives; None if all are empty."""
    used = [number for number, text in enumerate(sought) if text]
    if not used:
        return None
    lexemes = {pair for number in used for pair in _LEXEME.findall(sought[number])}
    return ConfigQuery(
        config=config,
        rule=rule,
        exact=" | ".join(f"({exact[number]})" for number in used),
        loose=" | ".join(f"({loose[number]})" for number in used),
        lexemes=tuple(
            Lexeme(text=text.replace("''", "'"), is_prefix=bool(star))
            for text, star in sorted(lexemes)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _TermSql:
    """The SQL of a term: one expression per form, for example with and without accents.

    A form that is not the first counts only if the first is no stop word.
    """

    is_prefix: bool
    is_excluded: bool
    names: tuple[str, ...]

    @classmethod
    def build(cls, term: Term, rule: int, values: dict[str, Any]) -> "_TermSql":
        """Add the forms to the parameters of the statement."""
        if rule < normalization.RULE:
            forms = [languages.prepare_by_first_rule(term.text)]
            is_prefix = term.kind is TermKind.PREFIX
        else:
            forms = normalization.query_forms(term.text)
            is_prefix = term.kind is TermKind.PREFIX or normalization.is_prefix(
                term.text
            )
        if is_prefix:
            forms = [f"'{form}':*" for form in forms]
        names = [f"term_{len(values) + at}" for at in range(len(forms))]
        values |= dict(zip(names, forms, strict=True))
        return cls(
            is_prefix=is_prefix, is_excluded=term.is_excluded, names=tuple(names)
        )

    @property
    def exact(self) -> str:
        """The words next to each other."""
        sql = self._either("phraseto_tsquery")
        return f"(!! {sql})" if self.is_excluded else sql

    @property
    def any_order(self) -> str:
        """The words in any position."""
        return self._either("plainto_tsquery")

    @property
    def loose(self) -> str:
        """The part that can use the index.

        Empty for an excluded phrase: its words may occur elsewhere in the text.
        """
        if not self.is_excluded:
            return self.any_order
        sql = self.exact
        return f"CASE WHEN numnode({sql}) = 2 THEN {sql} ELSE ''::tsquery END"

    def _either(self, function: str) -> str:
        first, *others = (self._form(function, name) for name in self.names)
        if not others:
            return first
        all_forms = " || ".join([first, *others])
        return f"(CASE WHEN numnode({first}) = 0 THEN {first} ELSE {all_forms} END)"

    def _form(self, function: str, name: str) -> str:
        if self.is_prefix:
            return (
                f"(to_tsquery(rules, %({name})s) || to_tsquery('simple', %({name})s))"
            )
        return f"{function}(rules, %({name})s)"


def _all(terms: Iterator[str]) -> str:
    return f"({' && '.join(terms)})::text"
