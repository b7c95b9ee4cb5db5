"""The Python client: every operation by name, over HTTP or embedded."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from tournant.api.operation import Operation
from tournant.errors import NotFound
from tournant.sdk.transport import EmbeddedTransport, HttpTransport, Transport

__all__ = ["Client"]


class Client:
    """Asks tournant.

    >>> client = Client(url="http://127.0.0.1:5000")  # a running server
    >>> client = Client(home="project/.tournant")  # the same things with no server  # doctest: +SKIP

    Operations are attributes by noun: `client.runs.list(limit=5)`, `client.models.get(name="flights")`. `/api/openapi.json` and
    `docs/reference/operations.md` list them.
    """

    def __init__(
        self, url: str | None = None, *, home: str | Path | None = None, token: str | None = None, actor: str = ""
    ) -> None:
        """Use the server at `url`; or the one that runs on `home`; or `home` itself, with nothing running."""
        self.transport = _choose(url, Path(home) if home else None, token or "", actor)

    @cached_property
    def _operations(self) -> Mapping[str, Operation[Any, Any]]:
        from tournant.api.table import OPERATIONS  # services and all they need

        return {operation.name: operation for operation in OPERATIONS}

    def call(self, name: str, /, **values: object) -> Any:
        """Run an operation by its full name, such as `runs.list`."""
        operation = self._operations.get(name)
        if operation is None:
            raise NotFound(f"there is no operation {name!r} (there are: {', '.join(sorted(self._operations))})")
        return self.transport.call(operation, values)

    def __getattr__(self, noun: str) -> "Noun":
        """Give the operations of one noun."""
        if noun.startswith("_"):
            raise AttributeError(noun)
        return Noun(self, noun)

    def __enter__(self) -> "Client":
        """Use as a context manager."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close connections."""
        self.transport.close()


class Noun:
    """The operations of one noun of a client."""

    def __init__(self, client: Client, noun: str) -> None:
        """Name them `noun.verb`."""
        self._client = client
        self._noun = noun

    def __getattr__(self, verb: str) -> "Verb":
        """Give one operation, to call with its fields."""
        return Verb(self._client, f"{self._noun}.{verb}")


class Verb:
    """One operation of a client."""

    def __init__(self, client: Client, name: str) -> None:
        """Call operation `name`."""
        self._client = client
        self._name = name

    def __call__(self, **values: object) -> Any:
        """Run it."""
        return self._client.call(self._name, **values)


def _choose(url: str | None, home: Path | None, token: str, actor: str) -> Transport:
    if url:
        return HttpTransport(url, token=token, actor=actor)
    from tournant.bootstrap.home import ensure_token, read_server
    from tournant.config import Settings

    settings = Settings.load(home=home, token=token or None)
    server = read_server(settings.home)
    if server:
        return HttpTransport(server.url, token=ensure_token(settings).token, actor=actor)
    return EmbeddedTransport.open(home, actor=actor)
