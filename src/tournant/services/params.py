"""Values for params as people write them on a command line."""

from collections.abc import Sequence

from tournant.errors import Invalid
from tournant.services.yaml_document import read_document

__all__ = ["read_params", "read_value"]


def read_params(settings: Sequence[str]) -> dict[str, object]:
    """Read `PARAM=VALUE` texts; a value is YAML, so that `3`, `0.1`, `true` and `[1, 2]` are what they look like.

    >>> read_params(["depth=3", "model.name=tree", "seeds=[1, 2]"])
    {'depth': 3, 'model.name': 'tree', 'seeds': [1, 2]}
    """
    params = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise Invalid(f"{setting!r} is no PARAM=VALUE, such as depth=3", place="set")
        params[name.strip()] = read_value(text)
    return params


def read_value(text: str) -> object:
    """Read one value as YAML; a text that is no YAML is itself."""
    try:
        value = read_document(text, "value").value
    except Invalid:
        return text
    return "" if value == {} and not text.strip() else value
