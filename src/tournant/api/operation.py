"""What an operation is, and how its request is read from untyped values."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from tournant.errors import Invalid
from tournant.services.context import Context

__all__ = ["Empty", "Operation", "Page"]

Request = TypeVar("Request")
Response = TypeVar("Response")

_PARAMETER = re.compile(r"{(\w+)}")


class Empty(msgspec.Struct, frozen=True):
    """A request without fields."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A request for the newest `limit` records, optionally before one of them (keyset paging by time)."""

    limit: int = 50
    before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Request, Response]):
    """One thing tournant can be asked: the same name, request and response over HTTP, in the SDK and on the command line.

    `path` starts below `/api`; fields named in it (`/runs/{id}`) come from the address, the others from the query (GET)
    or the JSON body.
    """

    name: str
    method: str
    path: str
    request: type[Request]
    response: Any
    handler: Callable[[Context, Request], Response]

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or self.name).strip().splitlines()[0]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The request's fields that stand in the path."""
        return tuple(_PARAMETER.findall(self.path))

    def read(self, values: Mapping[str, object], *, strict: bool = True) -> Request:
        """Make the request from untyped values; with `strict=False` text is taken for numbers, as a query has it."""
        known = {field.encode_name for field in msgspec.structs.fields(self.request)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - known)
        if unknown:
            takes = ", ".join(sorted(known)) or "no field"
            raise Invalid(f"{self.name} takes no field {unknown[0]!r} (it takes: {takes})", place=unknown[0])
        try:
            return msgspec.convert(dict(values), self.request, strict=strict)
        except msgspec.ValidationError as exc:
            raise Invalid(f"{self.name}: {exc}") from exc

    def address(self, request: Request) -> str:
        """Fill the path's parameters from a request."""
        return _PARAMETER.sub(lambda match: str(getattr(request, match[1])), self.path)
