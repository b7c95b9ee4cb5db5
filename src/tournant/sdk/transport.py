"""How a client reaches tournant: over HTTP, or in this process on the same home."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tournant.api.operation import Operation
from tournant.errors import Conflict, Damaged, Denied, Invalid, NotFound, Overloaded, TournantError, Unavailable

if TYPE_CHECKING:
    import httpx

    from tournant.services.context import Context

__all__ = ["EmbeddedTransport", "HttpTransport", "Transport"]

_ERRORS: dict[str, type[TournantError]] = {
    kind.code: kind for kind in (Conflict, Damaged, Denied, Invalid, NotFound, Overloaded, Unavailable)
}


class Transport(Protocol):
    """Carries one operation."""

    def call(self, operation: Operation[Any, Any], values: dict[str, object]) -> Any:
        """Run the operation and give its typed response."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class HttpTransport:
    """Talks to a running control plane."""

    def __init__(self, url: str, *, token: str = "", actor: str = "", timeout_seconds: float = 600.0) -> None:
        """Reach `url`, with a token if it asks for one; `actor` is the name that events carry."""
        self.url = url.rstrip("/")
        self._headers = {"Tournant-Actor": actor} if actor else {}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_seconds = timeout_seconds
        self._http: httpx.Client | None = None

    def call(self, operation: Operation[Any, Any], values: dict[str, object]) -> Any:
        """Send the operation."""
        import httpx  # 160 ms of CPU that a help page need not pay

        if self._http is None:
            self._http = httpx.Client(base_url=self.url, headers=self._headers, timeout=self._timeout_seconds)
        plain: dict[str, Any] = msgspec.to_builtins(values)
        inside = set(operation.parameters)
        rest = {name: value for name, value in plain.items() if name not in inside and value is not None}
        path = "/api" + operation.path.format_map({name: plain[name] for name in inside})
        reading = operation.method == "GET"
        try:
            answer = self._http.request(
                operation.method,
                path,
                params=rest if reading else None,
                content=None if reading else msgspec.json.encode(rest),
            )
        except httpx.TransportError as exc:
            raise Unavailable(f"tournant does not answer at {self.url} ({exc}). Start it: tournant up") from exc
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=operation.response, strict=False)  # "NaN" is a number
        raise _error(answer.status_code, answer.content)

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()


class EmbeddedTransport:
    """Runs operations in this process, on the metadata and content of a home."""

    def __init__(self, context: "Context") -> None:
        """Use an open context."""
        self.context = context

    @classmethod
    def open(cls, home: Path | None = None, *, actor: str = "") -> "EmbeddedTransport":
        """Open a home (by default the one the environment names)."""
        from tournant.bootstrap.house import open_context  # SQLAlchemy and all, only where needed
        from tournant.config import Settings

        return cls(open_context(Settings.load(home=home), actor=actor or "sdk"))

    def call(self, operation: Operation[Any, Any], values: dict[str, object]) -> Any:
        """Run the operation."""
        plain = msgspec.to_builtins({name: value for name, value in values.items() if value is not None})
        return operation.handler(self.context, operation.read(plain))

    def close(self) -> None:
        """Nothing to give back."""


def _error(status: int, content: bytes) -> TournantError:
    try:
        error = msgspec.json.decode(content)["error"]
        kind = _ERRORS.get(error["code"], TournantError)
        return kind(error["message"], place=error.get("place", ""))
    except (msgspec.DecodeError, KeyError, TypeError):
        return Unavailable(f"the server answered {status}: {content[:200].decode(errors='replace')}")
