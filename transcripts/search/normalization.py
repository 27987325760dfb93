"""Split text and queries into the words that are compared. Pure.

The same rules for both, so that results do not depend on the locale of the database:
PostgreSQL gets words of letters and digits, separated by spaces, and only stems them.

- Compatibility forms, case and the digits of all scripts are unified.
- A word with accents is also found without them, and the other way round.
- A number or hyphenated word is found by its parts and as a whole.
- In scripts without spaces, every two characters are a word, so that any part of a
  sentence is found.
- A Korean word is also found without its last syllables, which may be particles.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

import regex

# The version of these rules: raise it with every change. Entries of an older one are
# rebuilt in the background (``transcripts.search.backlog``).
RULE = 2
# PostgreSQL ignores longer words, without counting their position.
_MAX_BYTES = 600
# Thai, Lao, Myanmar, Khmer, Chinese and Japanese.
UNSPACED = (
    r"\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}\p{Han}\p{Hiragana}\p{Katakana}\u30fc\u3005"
)
_HANGUL = regex.compile(r"\p{Hangul}{3,}")
# What a Korean word may end with: particles of up to four syllables.
_MAX_PARTICLES = 4
_MIN_NOUN = 2
_RUN = regex.compile(
    rf"(?P<unspaced>(?:[{UNSPACED}]\p{{M}}*)+)|(?P<word>(?:(?![{UNSPACED}])[\p{{L}}\p{{N}}]"
    r"\p{M}*)+)|\p{M}+"
)
_ASCII_RUN = regex.compile(r"(?P<word>[a-z0-9]+)")
# A word, or words with one character between each, such as a number.
_ASCII_CHUNK = re.compile(r"[a-z0-9]++(?:[-.,:/'][a-z0-9]++)*+")
_MAX_CACHED = 40
_CLUSTER = regex.compile(r"\X")
# Characters between the parts of one number, and of one word.
_NUMBER_JOINTS = frozenset("-.,:/'\u2019 ")
_WORD_JOINTS = frozenset("-'\u2019")
_IGNORED = regex.compile(r"[\p{Cf}\u0640]")  # joiners, marks of direction, kashida
_FOLDABLE = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}]")
_MARK = regex.compile(r"\p{Mn}+")
# Letters that Unicode does not decompose into a letter and a mark.
_LETTERS = str.maketrans(
    {
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "\N{LATIN SMALL LETTER L WITH STROKE}": "l",
        "\N{LATIN SMALL LETTER D WITH STROKE}": "d",
        "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
        "\N{LATIN SMALL LETTER ETH}": "d",
        "\N{LATIN SMALL LETTER H WITH STROKE}": "h",
        "\N{LATIN SMALL LETTER T WITH STROKE}": "t",
        "\N{LATIN SMALL LETTER SHARP S}": "ss",
        "\N{LATIN SMALL LETTER AE}": "ae",
        "\N{LATIN SMALL LIGATURE OE}": "oe",
        "\N{LATIN SMALL LETTER THORN}": "th",
        "\N{GREEK SMALL LETTER FINAL SIGMA}": "\N{GREEK SMALL LETTER SIGMA}",
        "\N{ARABIC LETTER ALEF MAKSURA}": "\N{ARABIC LETTER YEH}",
    }
)


@dataclass(frozen=True, slots=True)
class IndexedWord:
    """A word at its position, and the other forms under which it is found."""

    text: str
    others: tuple[str, ...] = ()
    is_unspaced: bool = False
    # The last character of a run in a script without spaces, which a query omits.
    is_last: bool = False


@dataclass(slots=True)
class _Run:
    text: str
    start: int
    end: int
    is_unspaced: bool
    others: list[str] = field(default_factory=list)


def segment(text: str) -> list[IndexedWord]:
    """Return the words of a text in order."""
    normal = normalize(text)
    # Words with a space between them do not affect each other.
    chunks = _ASCII_CHUNK.findall(normal) if normal.isascii() else normal.split()
    return list(
        chain.from_iterable(
            _segment_cached(chunk) if len(chunk) <= _MAX_CACHED else _segment(chunk)
            for chunk in chunks
        )
    )


@lru_cache(maxsize=20_000)
def _segment_cached(chunk: str) -> tuple[IndexedWord, ...]:
    """Return the words of a chunk; texts repeat most of theirs."""
    return tuple(_segment(chunk))


def _segment(normal: str) -> list[IndexedWord]:
    runs = list(_find_runs(normal))
    for joined in _find_joined(normal, runs):
        joined[0].others += _join(joined)
    segments: list[IndexedWord] = []
    for run in runs:
        segments += _cut_unspaced(run.text) if run.is_unspaced else [_build_word(run)]
    return segments


def query_forms(text: str) -> list[str]:
    """Return the phrases that a term of a query may match, the exact one first."""
    segments = segment(text)
    if len(segments) > 1 and segments[-1].is_last and not segments[-2].is_last:
        # Its pair is in the phrase already; in the text another character may follow.
        segments = segments[:-1] if segments[-2].is_unspaced else segments
    words = [each.text for each in segments]
    forms = [" ".join(words)]
    whole = "".join(words)
    if len(words) > 1 and whole in segments[0].others:
        forms.append(whole)
    return list(dict.fromkeys([*forms, *map(fold_phrase, forms)]))


def fold_phrase(text: str) -> str:
    """Return a phrase without accents."""
    return " ".join(map(fold, text.split()))


def is_prefix(text: str) -> bool:
    """Return whether a term is one character of a script without spaces.

    It begins one of the pairs that are indexed.
    """
    segments = segment(text)
    return len(segments) == 1 and segments[0].is_last


def normalize(text: str) -> str:
    """Return the text in lower case, with one form for each character."""
    if text.isascii():
        return text.lower()
    # A capital I with a dot becomes two characters.
    lower = unicodedata.normalize("NFKC", text).lower().replace("i\u0307", "i")
    plain = _IGNORED.sub("", unicodedata.normalize("NFKC", lower))
    return str(regex.sub(r"(?![0-9])\p{Nd}", _to_ascii_digit, plain))


def fold(word: str) -> str:
    """Return a word without accents; in scripts that can do without them."""
    if word.isascii() or not _FOLDABLE.search(word):
        return word
    decomposed = unicodedata.normalize("NFD", word.translate(_LETTERS))
    return unicodedata.normalize("NFC", _MARK.sub("", decomposed)).translate(_LETTERS)


def _to_ascii_digit(found: "regex.Match[str]") -> str:
    return str(unicodedata.digit(found[0]))


def _find_runs(text: str) -> Iterator[_Run]:
    pattern = _ASCII_RUN if text.isascii() else _RUN
    for found in pattern.finditer(text):
        named = found.groupdict()
        word = named["word"]
        run = word or named.get("unspaced")
        if run:
            yield _Run(run, found.start(), found.end(), is_unspaced=not word)


def _find_joined(text: str, runs: list[_Run]) -> Iterator[list[_Run]]:
    """Yield the parts of each number or hyphenated word."""
    group: list[_Run] = []
    for run in runs:
        if group and not _is_joined(text, group[-1], run):
            if len(group) > 1:
                yield group
            group = []
        group = [] if run.is_unspaced else [*group, run]
    if len(group) > 1:
        yield group


def _join(parts: list[_Run]) -> Iterator[str]:
    """Yield the whole, and of a number also the part before its last joint.

    ``1,234.56`` is 123456 and 1234, however a program writes the separators.
    """
    texts = [run.text for run in parts]
    yield "".join(texts)
    if len(texts) > 2 and all(map(str.isdigit, texts)):  # noqa: PLR2004
        yield "".join(texts[:-1])


def _is_joined(text: str, one: _Run, other: _Run) -> bool:
    between = text[one.end : other.start]
    has_digits = one.text[-1].isdigit() and other.text[0].isdigit()
    if has_digits:
        return between in _NUMBER_JOINTS - {" "}
    return between in _WORD_JOINTS


def _build_word(run: _Run) -> IndexedWord:
    text = _shorten(run.text)
    others = dict.fromkeys(_shorten(each) for each in run.others)
    others |= dict.fromkeys(fold(each) for each in (text, *others))
    if _HANGUL.fullmatch(text):
        shortest = max(_MIN_NOUN, len(text) - _MAX_PARTICLES)
        others |= dict.fromkeys(text[:end] for end in range(shortest, len(text)))
    others.pop(text, None)
    return IndexedWord(text, tuple(others))


def _cut_unspaced(run: str) -> list[IndexedWord]:
    """Return every two neighbouring characters, and the last one alone."""
    clusters = _CLUSTER.findall(run)
    pairs = zip(clusters, [*clusters[1:], ""], strict=True)
    return [
        IndexedWord(_shorten(one + other), is_unspaced=True, is_last=not other)
        for one, other in pairs
    ]


def _shorten(word: str) -> str:
    if len(word) * 4 <= _MAX_BYTES:
        return word
    return word.encode()[:_MAX_BYTES].decode(errors="ignore")
