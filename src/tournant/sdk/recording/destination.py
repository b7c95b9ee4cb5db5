"""Where a script's calls go: a server over HTTP, or a home in this process. Light, because every training script imports it."""

import http.client
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from tournant.bootstrap.home import ensure_token, read_server
from tournant.config import Settings
from tournant.errors import Conflict, Damaged, Denied, Invalid, NotFound, Overloaded, TournantError, Unavailable

__all__ = ["PATHS", "Destination", "EmbeddedDestination", "HttpDestination", "find_destination"]

# The operations a script needs, as in the table of operations, whose import costs more than these.
PATHS = {
    "runs.create": ("POST", "/runs"),
    "runs.get": ("GET", "/runs/{id}"),
    "runs.log": ("POST", "/runs/{id}/log"),
    "runs.finish": ("POST", "/runs/{id}/finish"),
    "models.register": ("POST", "/models/{name}/versions"),
}
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 120.0
_ERRORS = {kind.code: kind for kind in (Conflict, Damaged, Denied, Invalid, NotFound, Overloaded, Unavailable)}
_AGAIN = (429, 502, 503, 504)

# SQLite keeps in memory which locks its process holds. A child forked while a call writes would hold that lock for ever, by
# its own account, and could write nothing: so a fork waits for the call that is under way.
_embedded = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_embedded.acquire, after_in_parent=_embedded.release, after_in_child=_embedded.release)


class Destination(Protocol):
    """Takes calls, one at a time; Unavailable when it cannot now."""

    address: str

    def call(self, name: str, values: dict[str, object]) -> dict[str, Any]:
        """Call an operation with plain values; give its plain answer."""
        ...

    def put_artifact(self, path: str, content: BinaryIO, size_bytes: int) -> None:
        """Store a file at an artifact path."""
        ...


def find_destination(settings: Settings, *, actor: str = "", address: str = "") -> Destination:
    """Choose as the command line does: TOURNANT_URL, else the server that runs on the home, else the home itself.

    An `address` that was chosen before is taken as it is.
    """
    url = address or settings.environ.get("TOURNANT_URL", "")
    if url.startswith(("http://", "https://")):
        return HttpDestination(url, token=settings.token, actor=actor)
    if url and not address:
        raise Invalid(f"TOURNANT_URL is {url!r}: expected http://HOST:PORT", place="TOURNANT_URL")
    home = Path(address) if address else settings.home
    settings = Settings.load(home=home)
    return EmbeddedDestination(home, settings, actor=actor)


class HttpDestination:
    """A running control plane, over one connection that is kept."""

    def __init__(self, url: str, *, token: str = "", actor: str = "") -> None:
        """Reach `url`, with a token if it asks for one."""
        self.address = url.rstrip("/")
        parts = urlsplit(self.address)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
        self._connection.blocksize = 1 << 20
        self._base = parts.path
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if actor:
            self._headers["Tournant-Actor"] = actor
        self._lock = threading.Lock()

    def call(self, name: str, values: dict[str, object]) -> dict[str, Any]:
        """Call an operation."""
        method, template = PATHS[name]
        path = template.format_map({key: quote(str(value), safe="") for key, value in values.items()})
        rest = {key: value for key, value in values.items() if f"{{{key}}}" not in template}
        body = None if method == "GET" else msgspec.json.encode(rest)
        answer = self._ask(method, f"/api{path}", body, {"Content-Type": "application/json"})
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def put_artifact(self, path: str, content: BinaryIO, size_bytes: int) -> None:
        """Store a file by MLflow's artifact proxy, streamed."""
        self._ask("PUT", ARTIFACTS + quote(path), content, {"Content-Length": str(size_bytes)})

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> bytes:
        with self._lock:
            try:
                return self._once(method, path, body, headers)
            except (OSError, http.client.HTTPException) as exc:
                self._connection.close()
                if isinstance(exc, ConnectionRefusedError | TimeoutError | socket.gaierror):
                    raise self._unavailable(exc) from exc
            if hasattr(body, "seek"):
                body.seek(0)
            try:  # a connection that was kept may have been closed meanwhile; every call may be made twice
                return self._once(method, path, body, headers)
            except (OSError, http.client.HTTPException) as exc:
                self._connection.close()
                raise self._unavailable(exc) from exc

    def _once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> bytes:
        connection = self._connection
        if connection.sock is None:
            connection.connect()
            opened: socket.socket = connection.sock  # type: ignore[assignment] # `connect` sets it
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.settimeout(ANSWER_SECONDS)
        connection.request(method, self._base + path, body, {**self._headers, **headers})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status < 300:
            return content
        raise _error(answer.status, content)

    def _unavailable(self, exc: Exception) -> Unavailable:
        return Unavailable(f"tournant does not answer at {self.address} ({exc}). Start it: tournant up")


class EmbeddedDestination:
    """A home: the server that runs on it, if one does when a call is made, or the home itself, in this process."""

    def __init__(self, home: Path, settings: Settings, *, actor: str = "") -> None:
        """Open nothing yet."""
        self.address = str(home)
        self._settings = settings
        self._actor = actor
        self._server: HttpDestination | None = None
        self._transport: Any = None

    def call(self, name: str, values: dict[str, object]) -> dict[str, Any]:
        """Call an operation."""
        server = self._running()
        if server:
            return server.call(name, values)
        with _embedded:
            context = self._open()
            from tournant.api.table import OPERATIONS

            operation = next(found for found in OPERATIONS if found.name == name)
            answer = operation.handler(context, operation.read(values))
            plain: dict[str, Any] = msgspec.to_builtins(answer)
            return plain

    def put_artifact(self, path: str, content: BinaryIO, size_bytes: int) -> None:
        """Store a file."""
        server = self._running()
        if server:
            server.put_artifact(path, content, size_bytes)
            return
        with _embedded:
            from tournant.services.artifacts import put_artifact

            put_artifact(self._open(), path, content, size_bytes=size_bytes)

    def _running(self) -> HttpDestination | None:
        record = read_server(self._settings.home)
        if record is None:
            self._server = None
        elif self._server is None or self._server.address != record.url.rstrip("/"):
            self._server = HttpDestination(record.url, token=ensure_token(self._settings).token, actor=self._actor)
        return self._server

    def _open(self) -> Any:
        if self._transport is None:
            from tournant.sdk.transport import EmbeddedTransport  # SQLAlchemy and all, where nothing runs

            self._transport = EmbeddedTransport.open(self._settings.home, actor=self._actor)
        return self._transport.context


def _error(status: int, content: bytes) -> TournantError:
    try:
        told = json.loads(content)
        error = told["error"] if "error" in told else {"code": "invalid", "message": told["message"]}
        kind = Unavailable if status in _AGAIN else _ERRORS.get(error["code"], TournantError)
        return kind(error["message"], place=error.get("place", ""))
    except (ValueError, KeyError, TypeError):
        words = f"the server answered {status}: {content[:200].decode(errors='replace')}"
        return Unavailable(words) if status >= 500 else Invalid(words)
