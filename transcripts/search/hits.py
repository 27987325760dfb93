"""Load the transcripts and snippets of a page of hits."""

import json
import re
import string
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import UUID

from django.db import connection
from django.db.models import BinaryField
from django.db.models.functions import Substr

from transcripts import word_times
from transcripts.models import Transcript
from transcripts.search import languages as search_languages
from transcripts.search import normalization, snippets
from transcripts.search.ranking import SearchPage
from transcripts.search.rules import ConfigQuery, Lexeme
from transcripts.search.snippets import Snippet

# Tokens of several words.
_JOINED = r"[^\n]*\w[^\w\s]++\w"
# Tokens searched first: five minutes of speech. The last ones are only context, since
# the very last may be truncated.
_BEGINNING, _AROUND = 1000, 50
_CHARACTERS = 8 * _BEGINNING
_FIRST_STARTS = Substr(
    "starts", 1, word_times.WIDTH * _BEGINNING, output_field=BinaryField()
)
_FIELDS = (
    *("language", "confidence", "duration_seconds", "words", "created_at"),
    *("job__mode", "job__batch_id", "job__custom_id", "job__filename"),
    *("job__metadata", "job__options"),
)
# A character with its marks and the space behind it.
_MAX_CLUSTER = 6
# Per page; well above the distinct tokens of a page with the same first letter.
_MAX_FORMS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHit:
    """A transcript with its rank and snippets."""

    transcript: Transcript
    rank: float | None = None
    snippets: list[Snippet] = field(default_factory=list)


def load_hits(page: SearchPage, *, words: bool) -> list[ShownHit]:
    """Return the hits in order, without those erased since; snippets with ``words``."""
    rows = Transcript.objects.filter(pk__in=[hit.transcript_id for hit in page.hits])
    rows = rows.select_related("job").only(*_FIELDS, *(["text"] if words else []))
    if words:
        rows = rows.annotate(first_starts=_FIRST_STARTS)
    by_id = {row.pk: row for row in rows}
    snippets = _find_snippets(by_id.values(), page.queries) if words else {}
    return [
        ShownHit(
            transcript=by_id[hit.transcript_id],
            rank=hit.rank if words else None,
            snippets=snippets.get(hit.transcript_id, []),
        )
        for hit in page.hits
        if hit.transcript_id in by_id
    ]


@dataclass(frozen=True, slots=True)
class _Text:
    """The searched tokens of a transcript, and its text search configuration."""

    transcript: Transcript
    config: str
    tokens: list[str]
    space: str
    starts: bytes
    # How many tokens can be hits; None for all.
    limit: int | None
    distinct: set[str]

    @classmethod
    def build(cls, transcript: Any) -> Self:
        """Split the beginning of the text, or all of a short one."""
        text = transcript.text
        tokens, space = word_times.split_tokens(text[:_CHARACTERS])
        is_all = len(text) <= _CHARACTERS and len(tokens) <= _BEGINNING
        limit = None if is_all else max(0, min(_BEGINNING, len(tokens) - _AROUND))
        starts, distinct = bytes(transcript.first_starts), set(tokens[:limit])
        config = _config(transcript)
        return cls(transcript, config, tokens, space, starts, limit, distinct)

    def extend(self, starts: bytes) -> Self:
        """Split the full text."""
        tokens, space = word_times.split_tokens(self.transcript.text)
        return replace(
            self,
            tokens=tokens,
            space=space,
            starts=starts,
            limit=None,
            distinct=set(tokens),
        )


def _find_snippets(
    transcripts: Iterable[Transcript], queries: Iterable[ConfigQuery]
) -> dict[UUID, list[Snippet]]:
    """Return the best snippets of each transcript.

    A text whose beginning has all words of the query and enough snippets is searched no
    further: frequent words occur throughout hours of speech.
    """
    lexemes: dict[str, tuple[Lexeme, ...]] = defaultdict(tuple)
    for query in queries:
        lexemes[query.config] += query.lexemes
    found: dict[UUID, list[Snippet]] = {}
    texts = [_Text.build(each) for each in transcripts]
    while texts:
        tokens: dict[str, set[str]] = defaultdict(set)
        for text in texts:
            tokens[text.config] |= text.distinct
        matched = _find_forms(tokens, lexemes)
        incomplete = {}
        for text in texts:
            forms = matched[text.config]
            cut = snippets.cut_snippets(
                text.tokens,
                text.space,
                starts=text.starts,
                matched=forms,
                limit=text.limit,
            )
            query_words = {lexeme.text for lexeme in lexemes.get(text.config, ())}
            matches = {forms[token] for token in forms.keys() & text.distinct}
            is_complete = len(cut) == snippets.MAX_SNIPPETS and matches == query_words
            if is_complete or text.limit is None:
                found[text.transcript.pk] = cut
            else:
                incomplete[text.transcript.pk] = text
        starts = Transcript.objects.filter(pk__in=incomplete).values_list(
            "pk", "starts"
        )
        texts = [incomplete[pk].extend(bytes(each)) for pk, each in starts]
    return found


def _config(transcript: Transcript) -> str:
    language = search_languages.language_of(
        detected=transcript.language, options=transcript.job.options
    )
    return search_languages.config_of(language)


def _find_forms(
    tokens: Mapping[str, Collection[str]], lexemes: Mapping[str, tuple[Lexeme, ...]]
) -> dict[str, dict[str, str]]:
    """Return by configuration the matching tokens, each with the word that it matches.

    PostgreSQL decides for the distinct candidates only, so that its parser does not
    process the texts a second time.
    """
    matched: dict[str, dict[str, str]] = defaultdict(dict)
    for config, distinct in tokens.items():
        query_lexemes = lexemes.get(config, ())
        candidates = _find_candidates(config, distinct, query_lexemes)[:_MAX_FORMS]
        for token, words in _stem(config, candidates):
            for lexeme in query_lexemes:
                if any(map(lexeme.matches, words)) or _is_part(token, lexeme):
                    matched[config][token] = lexeme.text
                    break
    return matched


def _is_part(token: str, lexeme: Lexeme) -> bool:
    """Return whether a token is one of the two characters of a word without spaces."""
    if token.isascii() or len(token) > _MAX_CLUSTER:
        return False
    character = normalization.segment(token)
    return bool(character and character[0].is_last) and (
        character[0].text in lexeme.text
    )


def _find_candidates(
    config: str, tokens: Iterable[str], lexemes: Sequence[Lexeme]
) -> list[str]:
    """Return the tokens that may match: most begin with the same letter."""
    distinct = list(tokens)
    if config in search_languages.PREFIX_STEMMERS or not lexemes:
        return distinct
    initials = "".join({_initial(lexeme.text) for lexeme in lexemes}) or "\0"
    return build_candidate_pattern(initials).findall("\n".join(distinct))


def build_candidate_pattern(initials: str) -> re.Pattern[str]:
    """Return a pattern for the lines that may begin with one of the initials."""
    # A stemmer may remove accents.
    beginning = rf"[^\w\n]*+(?:[{re.escape(initials)}]|[^\x00-\x7f])"
    return re.compile(
        f"^(?:{beginning}|{_JOINED})[^\n]*$", re.MULTILINE | re.IGNORECASE
    )


def _initial(word: str) -> str:
    """Return the first letter or digit in lower case without accents."""
    for character in word:
        if character.isalnum():
            if character.isascii():
                return character.lower()
            return unicodedata.normalize("NFKD", character).lower()[0]
    return ""


def _list_forms(token: str) -> str:
    """Return all words under which a token is found."""
    plain = token.strip(string.punctuation)
    if plain.isascii() and plain.isalnum():  # most tokens, and fast
        return plain.lower()
    segments = normalization.segment(token)
    return " ".join(word for each in segments for word in (each.text, *each.others))


def _stem(config: str, tokens: Sequence[str]) -> list[tuple[str, list[str]]]:
    if not tokens:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tsvector_to_array(to_tsvector(%s::regconfig, prepared))"
            " FROM json_array_elements_text(%s::json) WITH ORDINALITY"
            " AS of (prepared, n) ORDER BY n",
            # One JSON text: the elements of an array would be quoted one by one.
            [config, json.dumps([_list_forms(token) for token in tokens])],
        )
        lexemes = [words for (words,) in cursor.fetchall()]
    return list(zip(tokens, lexemes, strict=True))
