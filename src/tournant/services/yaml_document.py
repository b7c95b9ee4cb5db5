"""Reads a YAML file into plain values that know their lines, and checks them against a JSON Schema, all errors at once."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from tournant.errors import Invalid

__all__ = ["Document", "Problem", "check", "read_document", "suggest"]

Path = tuple[str | int, ...]

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")  # YAML 1.1 takes 1e-4 for text; nobody means that
_MOST_NODES = 20_000  # aliases can make a small file huge
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_NAMES = {
    "object": "a section of `key: value`",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong in one line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file's value and the line of everything in it (of the key, for a value in a section)."""

    name: str
    value: object
    lines: Mapping[Path, int]
    texts: Mapping[Path, str] = field(default_factory=dict)  # scalars as they are written
    problems: tuple[Problem, ...] = ()

    def line(self, *path: str | int) -> int:
        """Give the line of a path, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def refuse(self, problems: Sequence[Problem]) -> None:
        """Raise Invalid with all problems, in the order of the file; nothing when there are none."""
        if not problems:
            return
        found = sorted(set(problems))
        each = "\n".join(f"{self.name}:{problem.line}: {problem.text}" for problem in found)
        head = "" if len(found) == 1 else f"{self.name} has {len(found)} errors:\n"
        raise Invalid(head + each, place=f"{self.name}:{found[0].line}")


def read_document(text: str, name: str) -> Document:
    """Read YAML; Invalid with the line if it is no YAML. Keys that stand twice are among the document's problems."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise Invalid(f"{name}:{line}: this is not YAML: {exc.problem or exc.context}", place=f"{name}:{line}") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise Invalid(f"{name}:1: this is not YAML: {exc}", place=f"{name}:1") from exc
    reader = _Reader(name)
    value = reader.read(node, (), 1) if node is not None else {}
    return Document(name, value, reader.lines, reader.texts, tuple(reader.problems))


class _Reader:
    """Builds plain values from YAML nodes and keeps their lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path, int] = {}
        self.texts: dict[Path, str] = {}
        self.problems: list[Problem] = []
        self._loader = yaml.SafeLoader("")

    def read(self, node: yaml.Node, path: Path, line: int) -> object:
        self.lines[path] = line
        if len(self.lines) > _MOST_NODES or len(path) > 50:
            raise Invalid(
                f"{self.name}:{line}: this file is too large or refers to itself", place=f"{self.name}:{line}"
            )
        if isinstance(node, yaml.MappingNode):
            return self._section(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index), item.start_mark.line + 1) for index, item in enumerate(node.value)]
        self.texts[path] = node.value
        return self._scalar(node)

    def _section(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = str(key_node.value)
            if key in values:
                first = self.lines[(*path, key)]
                self.problems.append(Problem(line, f"'{key}' stands here a second time (first in line {first})"))
            values[key] = self.read(value_node, (*path, key), line)
        return values

    def _scalar(self, node: yaml.Node) -> object:
        if node.tag.endswith((":str", ":timestamp", ":binary")):
            plain = getattr(node, "style", None) is None
            return float(node.value) if plain and _NUMBER.fullmatch(node.value) else node.value
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            return node.value


def check(document: Document, schema: Mapping[str, object]) -> list[Problem]:
    """Compare a document with a JSON Schema; give everything that is wrong.

    Knows type, properties, required, additionalProperties, propertyNames, items, minItems, enum, pattern, minimum, maximum,
    exclusiveMinimum and exclusiveMaximum; a `description` of a pattern says what was expected.
    """
    return [*document.problems, *_check(document, document.value, schema, ())]


def _check(document: Document, value: object, schema: Mapping[str, object], path: Path) -> Iterator[Problem]:
    line, where = document.line(*path), _where(path)
    expected = _types(schema)
    if value is None and "object" in expected:
        value = {}  # a key with nothing after it
    if expected and not _is_one_of(value, expected):
        yield Problem(line, f"{where}: expected {_expectation(schema)}, found {_shown(value)}")
        return
    options = schema.get("enum")
    if isinstance(options, list) and value not in options:
        meant = suggest(str(value), [str(option) for option in options])
        yield Problem(line, f"{where}: expected one of {', '.join(map(str, options))}, found {_shown(value)}{meant}")
    if isinstance(value, dict):
        yield from _check_section(document, value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(document, value, schema, path)
    elif not _fits(value, schema):
        yield Problem(line, f"{where}: expected {_expectation(schema)}, found {_shown(value)}")


def _check_section(
    document: Document, value: dict[str, object], schema: Mapping[str, object], path: Path
) -> Iterator[Problem]:
    known = _section_of(schema, "properties")
    rest, names = schema.get("additionalProperties", True), _section_of(schema, "propertyNames")
    for key, item in value.items():
        line = document.line(*path, key)
        if names and not _fits(key, names):
            yield Problem(line, f"{_where((*path, key))}: {names.get('description', 'this is no name')}")
        if key in known:
            yield from _check(document, item, known[key], (*path, key))
        elif isinstance(rest, Mapping):
            yield from _check(document, item, rest, (*path, key))
        elif rest is False:
            hint = suggest(key, list(known)) or f" (known: {', '.join(known)})"
            yield Problem(line, f"{_where(path)}: unknown key '{key}'{hint}")
    required = schema.get("required", ())
    for key in required if isinstance(required, list) else ():
        if key not in value:
            yield Problem(
                document.line(*path), f"{_where(path)}: '{key}' is missing: expected {_expectation(known[key])}"
            )


def _check_list(document: Document, value: list[object], schema: Mapping[str, object], path: Path) -> Iterator[Problem]:
    least = schema.get("minItems", 0)
    if isinstance(least, int) and len(value) < least:
        yield Problem(document.line(*path), f"{_where(path)}: expected at least {least}, found an empty list")
    for index, item in enumerate(value):
        yield from _check(document, item, _section_of(schema, "items"), (*path, index))


def _fits(value: object, schema: Mapping[str, object]) -> bool:
    pattern = schema.get("pattern")
    if isinstance(value, str):
        return not isinstance(pattern, str) or re.search(pattern, value) is not None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    low, high = _limit(schema, "minimum", -math.inf), _limit(schema, "maximum", math.inf)
    above, below = _limit(schema, "exclusiveMinimum", -math.inf), _limit(schema, "exclusiveMaximum", math.inf)
    return (low <= value <= high and above < value < below) and not math.isnan(value)


def _limit(schema: Mapping[str, object], key: str, default: float) -> float:
    value = schema.get(key, default)
    return float(value) if isinstance(value, int | float) else default


def _section_of(schema: Mapping[str, object], key: str) -> Mapping[str, Mapping[str, object]]:
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}


def _types(schema: Mapping[str, object]) -> list[str]:
    expected = schema.get("type", [])
    return [expected] if isinstance(expected, str) else list(expected) if isinstance(expected, list) else []


def _is_one_of(value: object, expected: Sequence[str]) -> bool:
    if value is None:
        return "null" in expected
    if isinstance(value, bool):
        return "boolean" in expected
    return any(isinstance(value, _TYPES[name]) for name in expected if name != "null")


def _expectation(schema: Mapping[str, object]) -> str:
    description = schema.get("expects")
    if isinstance(description, str):
        return description
    options = schema.get("enum")
    if isinstance(options, list):
        return f"one of {', '.join(map(str, options))}"
    text = " or ".join(_NAMES[name] for name in _types(schema) if name != "null") or "something else"
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{words} {schema[key]}" for key, words in limits.items() if key in schema]
    return " ".join([text, " and ".join(bounds)]).strip()


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def suggest(word: str, known: Sequence[str]) -> str:
    """Say which known word was probably meant; empty when none is near.

    >>> suggest("retrainig", ["retraining", "rollout"])
    "; did you mean 'retraining'?"
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _where(path: Path) -> str:
    words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(words).lstrip(".") or "the file"
