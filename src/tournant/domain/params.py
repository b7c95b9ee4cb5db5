"""Params: values by name, dotted for what is nested; and texts that name them as `${name}`."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["find_param", "flatten_params", "render", "spread_items", "unknown_names", "with_param", "written"]

_NAME = re.compile(r"\$\{([^{}$]*)\}")
_SHELL = re.compile(r"[A-Z_][A-Z0-9_]*")  # ${HOME} is the shell's: variables of the environment are upper case
_ITEM_TEXT = re.compile(r"[^A-Za-z0-9_-]+")


def find_param(params: Mapping[str, object], name: str) -> object:
    """Give a param by its name, dotted for what is nested; KeyError if there is none.

    >>> find_param({"model": {"depth": 3}}, "model.depth")
    3
    """
    if name in params:
        return params[name]
    head, _, rest = name.partition(".")
    inner = params[head]
    if rest and isinstance(inner, Mapping):
        return find_param(inner, rest)
    raise KeyError(name)


def with_param(params: Mapping[str, object], name: str, value: object) -> dict[str, object]:
    """Give params with one value replaced, or added.

    >>> with_param({"model": {"depth": 3, "rate": 1}}, "model.depth", 4)
    {'model': {'depth': 4, 'rate': 1}}
    """
    head, _, rest = name.partition(".")
    inner = params.get(head)
    if rest and name not in params and isinstance(inner, Mapping):
        return {**params, head: with_param(inner, rest, value)}
    return {**params, name: value}


def flatten_params(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Give each value under its dotted name; lists stay whole.

    >>> flatten_params({"model": {"depth": 3}, "seeds": [1, 2]})
    {'model.depth': 3, 'seeds': [1, 2]}
    """
    flat: dict[str, object] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten_params(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def written(value: object) -> str:
    """Write a param's value as a command or a record has it: texts as they are, all else as JSON.

    >>> written("a b"), written(0.5), written(True), written([1])
    ('a b', '0.5', 'true', '[1]')
    """
    return value if isinstance(value, str) else json.dumps(value)


def render(text: str, values: Mapping[str, object]) -> str:
    """Put values in the place of `${name}`; names that are not there, such as the shell's, stay.

    >>> render("train.py --depth ${model.depth} ${HOME}", {"model": {"depth": 3}})
    'train.py --depth 3 ${HOME}'
    """

    def replace(match: re.Match[str]) -> str:
        try:
            return written(find_param(values, match[1].strip()))
        except KeyError:
            return match[0]

    return _NAME.sub(replace, text)


def unknown_names(text: str, values: Mapping[str, object]) -> Iterator[str]:
    """Give the names in a text that stand for no value and are not the shell's.

    >>> list(unknown_names("${depht} ${HOME}", {"depth": 3}))
    ['depht']
    """
    for name in (match.strip() for match in _NAME.findall(text)):
        try:
            find_param(values, name)
        except KeyError:
            if not _SHELL.fullmatch(name):
                yield name


def spread_items(foreach: object, matrix: Mapping[str, Sequence[object]]) -> list[tuple[str, dict[str, object]]]:
    """Give what a repeated step is repeated over: a text for its name, and the values it may name.

    >>> spread_items(["a", "b"], {})
    [('a', {'item': 'a'}), ('b', {'item': 'b'})]
    >>> spread_items(None, {"model": ["tree"], "depth": [2, 3]})[1]
    ('tree-3', {'item': {'model': 'tree', 'depth': 3}})
    >>> spread_items({"uk": {"rows": 9}}, {})
    [('uk', {'key': 'uk', 'item': {'rows': 9}})]
    """
    if isinstance(foreach, Mapping):
        return [(_text(key), {"key": key, "item": value}) for key, value in foreach.items()]
    if isinstance(foreach, Sequence) and not isinstance(foreach, str):
        return [
            (str(index) if isinstance(value, Mapping | list) else _text(value), {"item": value})
            for index, value in enumerate(foreach)
        ]
    combinations = itertools.product(*matrix.values())
    return [("-".join(map(_text, values)), {"item": dict(zip(matrix, values, strict=True))}) for values in combinations]


def _text(value: object) -> str:
    return _ITEM_TEXT.sub("_", written(value))
