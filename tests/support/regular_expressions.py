"""Find every regular expression of the four packages, and the texts that slow one down.

A pattern counts wherever it is: compiled in a module, a class, a container or a
closure, written as a literal in a call of ``re``, or part of a URL route.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice, permutations
from pathlib import Path
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import FunctionType, ModuleType
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

PACKAGES = ("jobs", "transcripts", "workers", "transcribe_platform")
LENGTH = 10_000
# Importing one of these runs a program.
_PROGRAMS = "__main__"
_CALLS = frozenset(
    ("compile", "match", "search", "fullmatch", "split", "sub", "subn", "findall")
) | {"finditer", "template"}
_METHODS = {"match": "match", "fullmatch": "fullmatch"}
METHODS = ("match", "fullmatch", "findall")
_MOST_ATOMS, _MOST_EXAMPLES = 9, 12
_CANDIDATES = "\"' \n\t,;:=\\/.-_aA0+<[(@?#%ü\u0e01\u4e00\x00{"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The patterns with where they are and how they are applied.

    ``unread`` names the modules that build a pattern from local variables: a walk
    through their objects finds those, or a test has to build one.
    """

    patterns: dict[re.Pattern[str], tuple[str, frozenset[str]]] = field(
        default_factory=dict
    )
    unread: set[str] = field(default_factory=set)

    def add(self, pattern: Any, place: str, uses: Iterable[str] = ()) -> None:
        """Keep a pattern; of one whose use is not known every method is tried."""
        if not isinstance(pattern, re.Pattern) or not isinstance(pattern.pattern, str):
            return
        known_place, known = self.patterns.get(pattern, (place, frozenset()))
        methods = frozenset(_METHODS.get(use, "findall") for use in uses)
        self.patterns[pattern] = (known_place, known | methods)


def collect() -> Collected:
    """Import all modules and return their patterns."""
    found, modules = Collected(), import_all()
    trees = {it: _parse(it) for it in modules}
    shared = [use for tree in trees.values() for use in _uses_in(tree)]
    for module, tree in trees.items():
        _read_source(module, tree, shared, found)
    for module in modules:
        _walk(vars(module), module.__name__, found, set())
    for pattern in _routes(get_resolver()):
        found.add(pattern, "a URL route", ["search"])
    return found


def import_all() -> list[ModuleType]:
    """Import every module of the packages, and return them."""
    names = list(PACKAGES)
    for package in PACKAGES:
        path = [str(Path(settings.BASE_DIR) / package)]
        names += [each.name for each in pkgutil.walk_packages(path, f"{package}.")]
    return [
        importlib.import_module(name) for name in names if not name.endswith(_PROGRAMS)
    ]


def _parse(module: ModuleType) -> ast.Module:
    path = Path(module.__file__ or "")
    text = path.read_text() if path.suffix == ".py" else ""
    return ast.parse(text if any(f".{call}(" in text for call in _CALLS) else "")


def _uses_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that a method of patterns is called on, and the method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _CALLS:
            owner = node.value
            name = getattr(owner, "attr", None) or getattr(owner, "id", "")
            yield name, node.attr


def _read_source(
    module: ModuleType,
    tree: ast.Module,
    shared: list[tuple[str, str]],
    found: Collected,
) -> None:
    """Evaluate the pattern of every call of ``re`` in the module."""
    own = list(_uses_in(tree))
    names = {
        id(node.value): getattr(node.targets[0], "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and _is_call_of_re(node.func)):
            continue
        method = node.func.attr  # type: ignore[attr-defined]
        flags = [each.value for each in node.keywords if each.arg == "flags"]
        flags += node.args[1:2] if method == "compile" else []
        name = names.get(id(node), "")
        known = own if name.startswith("_") else shared
        uses = [use for owner, use in known if owner == name and use != "compile"]
        place = f"{module.__name__}:{node.lineno}"
        try:
            pattern = re.compile(*(_value(it, module) for it in node.args[:1] + flags))
        except NameError:
            found.unread.add(module.__name__)
        else:
            found.add(pattern, place, uses if method == "compile" else [method])


def _is_call_of_re(func: ast.expr) -> bool:
    return (
        isinstance(func, ast.Attribute)
        and func.attr in _CALLS
        and isinstance(func.value, ast.Name)
        and func.value.id == "re"
    )


def _value(node: ast.expr, module: ModuleType) -> Any:
    code = compile(ast.Expression(node), "pattern", "eval")
    return eval(code, dict(vars(module)))


def _walk(value: Any, place: str, found: Collected, seen: set[int]) -> None:
    """Follow containers, closures, and classes and instances of ours to patterns."""
    if id(value) in seen:
        return
    seen.add(id(value))
    found.add(value, place)
    for part in _parts_of(value):
        _walk(part, place, found, seen)


def _parts_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from list(value)
    elif isinstance(value, FunctionType):
        value = inspect.unwrap(value)
        for cell in value.__closure__ or ():
            with suppress(ValueError):  # empty
                yield cell.cell_contents
        yield value.__defaults__
        yield value.__kwdefaults__
    elif _is_ours(value if isinstance(value, type) else type(value)):
        yield dict(getattr(value, "__dict__", {}))
        for name in getattr(type(value), "__slots__", ()):
            yield getattr(value, name, None)


def _is_ours(kind: type) -> bool:
    return str(getattr(kind, "__module__", "")).partition(".")[0] in PACKAGES


def _routes(resolver: URLResolver | URLPattern) -> Iterator[re.Pattern[str]]:
    yield resolver.pattern.regex  # type: ignore[union-attr]
    for each in getattr(resolver, "url_patterns", ()):
        yield from _routes(each)


def worst_texts(pattern: re.Pattern[str], length: int = LENGTH) -> Iterator[str]:
    """Yield texts that make a careless pattern try again from each of many places.

    Each begins as a match does, goes on with a character or two that the pattern
    knows, repeated, and ends with one that prevents the match.
    """
    tree = parser.parse(pattern.pattern, pattern.flags)
    atoms = _atoms(pattern, tree)
    ends = ["", next(it for it in "\x01~§" if it not in atoms)]
    pumps = [*atoms, *map("".join, permutations(atoms, 2))]
    for begin in dict.fromkeys(["", *_begins(tree)]):
        for pump in dict.fromkeys([*pumps, *_words(tree)]):
            lasts = dict.fromkeys([*ends, *atoms]) if len(pump) == 1 else ends
            for end in lasts:
                yield begin + pump * (length // len(pump)) + end


def _atoms(pattern: re.Pattern[str], tree: Any) -> list[str]:
    """Return characters that the pattern tells apart, one of each kind."""
    literals = dict.fromkeys(chain.from_iterable(_literals(tree)))
    sets = [re.compile(it, pattern.flags) for it in _sets(tree)]
    chosen: dict[tuple[bool, ...], str] = {}
    for character in chain(_CANDIDATES, literals):
        kind = (
            *(bool(each.match(character)) for each in sets),
            character if character in literals and not character.isalnum() else "",
        )
        if any(kind) or character in literals:
            chosen.setdefault(kind, character)
    return list(islice(chosen.values(), _MOST_ATOMS))


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    for op, value in getattr(tree, "data", tree):
        yield op, value
        for part in _subpatterns(value):
            yield from _nodes(part)


def _subpatterns(value: Any) -> Iterator[Any]:
    if isinstance(value, parser.SubPattern):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _subpatterns(part)


def _literals(tree: Any) -> Iterator[str]:
    for op, value in _nodes(tree):
        if op in {kinds.LITERAL, kinds.NOT_LITERAL}:
            yield chr(value)
        elif op is kinds.IN:
            yield from (chr(v) for kind, v in value if kind is kinds.LITERAL)


def _sets(tree: Any) -> Iterator[str]:
    for op, value in _nodes(tree):
        if op is kinds.ANY:
            yield "."
        elif op is kinds.NOT_LITERAL:
            yield f"[^{re.escape(chr(value))}]"
        elif op is kinds.IN:
            yield _write_set(value)


def _write_set(items: Any) -> str:
    classes = {
        kinds.CATEGORY_DIGIT: r"\d",
        kinds.CATEGORY_NOT_DIGIT: r"\D",
        kinds.CATEGORY_SPACE: r"\s",
        kinds.CATEGORY_NOT_SPACE: r"\S",
        kinds.CATEGORY_WORD: r"\w",
        kinds.CATEGORY_NOT_WORD: r"\W",
    }
    text = ""
    for kind, value in items:
        if kind is kinds.NEGATE:
            text += "^"
        elif kind is kinds.LITERAL:
            text += re.escape(chr(value))
        elif kind is kinds.RANGE:
            text += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        else:
            text += classes[value]
    return f"[{text}]"


def _words(tree: Any) -> list[str]:
    """Return the runs of literal characters, such as ``bytes``."""
    words, run = [], ""
    for op, value in [*_nodes(tree), (None, None)]:
        if op is kinds.LITERAL:
            run += chr(value)
        elif run:
            words.append(run)
            run = ""
    return words[:4]


def _begins(tree: Any) -> list[str]:
    """Return what a match holds before each of its long repetitions."""
    begins: list[str] = []
    _extend([""], getattr(tree, "data", tree), begins)
    return begins[:_MOST_EXAMPLES]


def _extend(texts: list[str], nodes: Any, begins: list[str]) -> list[str]:
    for op, value in nodes:
        texts = list(dict.fromkeys(_extend_one(texts, op, value, begins)))
        texts = texts[:_MOST_EXAMPLES]
    return texts


_REPEATS = {kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT}
_MANY = 8
_MOST_REPEATED = 40


def _extend_one(texts: list[str], op: Any, value: Any, begins: list[str]) -> list[str]:
    if op in _REPEATS:
        return _extend_repeat(texts, value, begins)
    if op is kinds.BRANCH:
        return [it for part in value[1] for it in _extend(texts, part.data, begins)]
    if op in {kinds.SUBPATTERN, kinds.ATOMIC_GROUP}:
        body = value[3] if op is kinds.SUBPATTERN else value
        return _extend(texts, body.data, begins)
    sample = _sample(op, value)
    return [text + sample for text in texts]


def _extend_repeat(texts: list[str], value: Any, begins: list[str]) -> list[str]:
    least, most, body = value
    if most >= _MANY:
        begins += texts
    longer = texts
    for _ in range(max(1, min(least, _MOST_REPEATED))):
        longer = _extend(longer, body.data, begins)
    return longer if least else [*longer, *texts]


def _sample(op: Any, value: Any) -> str:
    """Return a character that matches; nothing where none is read, as at an end."""
    if op is kinds.LITERAL:
        return chr(value)
    if op not in {kinds.IN, kinds.NOT_LITERAL, kinds.ANY}:
        return ""
    (written,) = _sets([(op, value)])
    return next((it for it in "0aA" + _CANDIDATES if re.match(written, it)), "")
