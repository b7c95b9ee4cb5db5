"""The filter language of searches: MLflow's grammar, and beyond it OR and parentheses.

    metrics.loss < 0.5 AND params.model = 'tree' AND (tags."my tag" LIKE 'a%' OR attributes.status IN ('RUNNING'))

A key stands bare, or in double quotes or backticks; an identifier without an entity is an attribute. LIKE is
case-sensitive, ILIKE is not; `%` is any text and `_` any character. Times are milliseconds since the epoch, as MLflow has
them; a `duration` is seconds, of runs that have ended.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tournant.domain.run_query import All, Any, Comparison, Condition, Entity, Ordering
from tournant.errors import Invalid

__all__ = ["RUNS", "Language", "holds", "like", "parse_filter", "parse_order"]

_ENTITIES = {
    Entity.METRIC: ("metric", "metrics"),
    Entity.PARAM: ("parameter", "parameters", "param", "params"),
    Entity.TAG: ("tag", "tags"),
    Entity.ATTRIBUTE: ("attribute", "attributes", "attr", "run"),
    Entity.DATASET: ("dataset", "datasets"),
}
_BY_NAME = {name: entity for entity, names in _ENTITIES.items() for name in names}
_NUMERIC = ("=", "!=", "<", "<=", ">", ">=")
_TEXT = ("=", "!=", "LIKE", "ILIKE")
_NULL = ("IS NULL", "IS NOT NULL")
_LIST = ("IN", "NOT IN")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<operator>!=|<>|<=|>=|==|=|<|>)
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<text>'(?:[^']|'')*'|"[^"]*")
      | (?P<mark>[(),])
      | (?P<name>(?:`[^`]+`|[A-Za-z_]\w*)(?:\.(?:"[^"]*"|`[^`]*`|'[^']*'|[\w./:\-]+))?)""",
    re.VERBOSE,
)
_DATASET_KEYS = ("name", "digest", "context")
_DEEPEST = 50  # parentheses in parentheses


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What one kind of thing can be searched for: entities, numeric and text attributes, other names of attributes.

    `tags` are tags that are kept as attributes.
    """

    noun: str
    entities: tuple[Entity, ...]
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def attribute(self, name: str) -> str:
        """Give the attribute of a name, or say which there are."""
        name = self.aliases.get(name, name)
        if name in self.numbers or name in self.texts:
            return name
        known = ", ".join((*self.texts, *self.numbers))
        raise Invalid(f"Invalid attribute key '{name}' specified: {self.noun} have {known}", place="filter")


RUNS = Language(
    noun="runs",
    entities=tuple(Entity),
    numbers=("start_time", "end_time", "duration"),
    texts=("run_id", "run_name", "status", "user_id", "artifact_uri"),
    aliases={
        "created": "start_time",
        "Created": "start_time",
        "run name": "run_name",
        "Run name": "run_name",
        "Run Name": "run_name",
    },
    tags={"mlflow.runName": "run_name"},
)


def parse_filter(text: str, language: Language = RUNS) -> Condition:
    """Read a filter; an empty one always holds. Invalid, with the place, when it cannot be read.

    >>> parse_filter("metrics.loss < 0.5")
    Comparison(entity=<Entity.METRIC: 'metric'>, key='loss', operator='<', value=0.5)
    """
    reader = _Reader(text, language)
    if reader.peek().kind == "end":
        return All()
    condition = reader.read_any(0)
    if reader.peek().kind != "end":
        raise reader.unexpected("AND, OR or the end")
    return condition


def parse_order(text: str, language: Language = RUNS) -> Ordering:
    """Read one key to order by, such as `metrics.loss DESC`."""
    reader = _Reader(text, language)
    entity, key = reader.read_identifier()
    direction = reader.peek()
    if direction.kind == "name" and direction.text.upper() in ("ASC", "DESC"):
        reader.next()
    if reader.peek().kind != "end":
        raise reader.unexpected("ASC, DESC or the end")
    if entity is Entity.DATASET:
        raise Invalid(
            f"Invalid order_by clause '{text}': {language.noun} are not ordered by datasets", place="order_by"
        )
    return Ordering(entity=entity, key=key, descending=direction.text.upper() == "DESC")


def holds(condition: Condition, read: Callable[[Entity, str], str | float | None]) -> bool:
    """Evaluate a condition; `read` gives the value of a key of an entity, or None."""
    match condition:
        case All(parts):
            return all(holds(part, read) for part in parts)
        case Any(parts):
            return any(holds(part, read) for part in parts)
        case Comparison(entity=entity, key=key, operator=operator, value=value):
            return _compare(read(entity, key), operator, value)


def like(text: str, pattern: str, *, ignore_case: bool = False) -> bool:
    """Match SQL's LIKE.

    >>> like("model_a", "model%"), like("a.b", "a_b"), like("A", "a"), like("A", "a", ignore_case=True)
    (True, True, False, True)
    """
    expression = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _compare(left: str | float | None, operator: str, right: str | float | tuple[str, ...] | None) -> bool:
    if operator in _NULL:
        return (left is None) == (operator == "IS NULL")
    if left is None:
        return False
    if operator in _LIST:
        assert isinstance(right, tuple)
        return (left in right) == (operator == "IN")
    if operator in ("LIKE", "ILIKE"):
        return like(str(left), str(right), ignore_case=operator == "ILIKE")
    if operator == "=" or operator == "!=":
        return (left == right) == (operator == "=")
    assert isinstance(left, int | float) and isinstance(right, int | float)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


class _Reader:
    """Reads tokens of one filter by recursive descent."""

    def __init__(self, text: str, language: Language) -> None:
        self._text = text
        self._language = language
        self._tokens = list(self._split())
        self._at = 0

    def _split(self) -> list[_Token]:
        tokens, position = [], 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None:
                raise self._unexpected_at(position, "a comparison such as metrics.loss < 0.5", self._text[position])
            if match.lastgroup != "space":
                tokens.append(_Token(str(match.lastgroup), match[0], position))
            position = match.end()
        return [*tokens, _Token("end", "", position)]

    def peek(self) -> _Token:
        return self._tokens[self._at]

    def next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def unexpected(self, expected: str) -> Invalid:
        token = self.peek()
        return self._unexpected_at(token.start, expected, token.text)

    def _unexpected_at(self, position: int, expected: str, found: str) -> Invalid:
        before = self._text[max(0, position - 40) : position]
        found = f"found {found!r}" if found else "it ends there"
        return Invalid(
            f"Invalid clause in filter string: expected {expected} at character {position + 1}, {found} "
            f"(after {before!r})",
            place=f"filter:{position + 1}",
        )

    def _take_word(self, *words: str) -> bool:
        """Take the keywords if they stand here."""
        following = self._tokens[self._at : self._at + len(words)]
        if [token.text.upper() for token in following if token.kind == "name"] != list(words):
            return False
        self._at += len(words)
        return True

    def read_any(self, depth: int) -> Condition:
        parts = [self._read_all(depth)]
        while self._take_word("OR"):
            parts.append(self._read_all(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _read_all(self, depth: int) -> Condition:
        parts = [self._read_one(depth)]
        while self._take_word("AND"):
            parts.append(self._read_one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _read_one(self, depth: int) -> Condition:
        if self.peek().text != "(":
            return self._read_comparison()
        if depth == _DEEPEST:
            raise self.unexpected(f"at most {_DEEPEST} parentheses in each other")
        self.next()
        inside = self.read_any(depth + 1)
        if self.peek().text != ")":
            raise self.unexpected("a closing parenthesis")
        self.next()
        return inside

    def read_identifier(self) -> tuple[Entity, str]:
        token = self.peek()
        if token.kind != "name":
            raise self.unexpected("metrics., params., tags., datasets. or an attribute")
        first, dot, rest = _split_name(token.text)
        if not dot:
            entity, key = Entity.ATTRIBUTE, first
        elif first in _BY_NAME and _BY_NAME[first] in self._language.entities:
            entity, key = _BY_NAME[first], rest
        else:
            raise self.unexpected("one of " + ", ".join(f"{entity.value}s" for entity in self._language.entities))
        if entity is Entity.TAG and key in self._language.tags:
            entity, key = Entity.ATTRIBUTE, self._language.tags[key]
        if entity is Entity.ATTRIBUTE:
            key = self._language.attribute(key)
        if entity is Entity.DATASET and key not in _DATASET_KEYS:
            raise self.unexpected("a dataset's " + ", ".join(_DATASET_KEYS))
        self.next()
        return entity, key

    def _read_comparison(self) -> Comparison:
        entity, key = self.read_identifier()
        numeric = entity is Entity.METRIC or (entity is Entity.ATTRIBUTE and key in self._language.numbers)
        allowed = _NUMERIC if numeric else (*_TEXT, *_LIST) if entity in (Entity.ATTRIBUTE, Entity.DATASET) else _TEXT
        if entity in (Entity.PARAM, Entity.TAG):
            allowed = (*allowed, *_NULL)
        operator = self._read_operator(allowed)
        value = None if operator in _NULL else self._read_value(operator, numeric=numeric)
        return Comparison(entity=entity, key=key, operator=operator, value=value)

    def _read_operator(self, allowed: tuple[str, ...]) -> str:
        token = self.peek()
        if token.kind == "operator" and token.text in allowed:
            return self.next().text
        for operator in allowed:
            if operator.isupper() and self._take_word(*operator.split()):
                return operator
        raise self.unexpected("one of " + ", ".join(allowed))

    def _read_value(self, operator: str, *, numeric: bool) -> str | float | tuple[str, ...]:
        if operator in _LIST:
            return self._read_list()
        token = self.peek()
        if numeric:
            if token.kind != "number":
                raise self.unexpected("a number")
            text = self.next().text
            return float(text) if not text.lstrip("+-").isdigit() else int(text)
        return self._read_text()

    def _read_text(self) -> str:
        if self.peek().kind != "text":
            raise self.unexpected("a quoted text such as 'my-value'")
        text = self.next().text
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]

    def _read_list(self) -> tuple[str, ...]:
        if self.peek().text != "(":
            raise self.unexpected("a list such as ('a', 'b')")
        self.next()
        values = [self._read_text()]
        while self.peek().text == ",":
            self.next()
            if self.peek().text == ")":  # ('a',) is taken too
                break
            values.append(self._read_text())
        if self.peek().text != ")":
            raise self.unexpected("',' or ')'")
        self.next()
        return tuple(values)


def _split_name(text: str) -> tuple[str, str, str]:
    if text[0] == "`":
        end = text.index("`", 1)
        first, dot, rest = text[1:end], text[end + 1 : end + 2], text[end + 2 :]
    else:
        first, dot, rest = text.partition(".")
    return first, dot, rest[1:-1] if rest[:1] in ('"', "`", "'") else rest
