"""Asks a tracking server, as MLflow's own client does: its variables, its errors, and patience with what passes."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from tournant.errors import Denied, Invalid, NotFound, Unavailable

__all__ = ["RestClient"]

_TRIES = 4
_PASSING = (429, 502, 503, 504)
_BLOCK_BYTES = 1024 * 1024
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "NOT_FOUND")
_SECRETS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


class RestClient:
    """One server; what can pass is tried again for some seconds."""

    def __init__(self, url: str, environ: Mapping[str, str], *, wait_seconds: float = 0.5) -> None:
        """Ask the server at `url`, with the credentials in it or in `environ`; the first wait doubles with each try."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise Invalid(f"{url!r} names no server: http://HOST:PORT")
        self.address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        self._wait_seconds = wait_seconds
        self._tries = _TRIES  # 1 while it is gone: nothing waits for each file of a server that has not answered before
        token, user = environ.get("MLFLOW_TRACKING_TOKEN"), environ.get("MLFLOW_TRACKING_USERNAME")
        auth: Any = None
        if parts.username:
            auth = (parts.username, parts.password or "")
        elif user:
            auth = (user, environ.get("MLFLOW_TRACKING_PASSWORD", ""))
        self._client = httpx.Client(
            base_url=self.address,
            auth=auth,
            headers={"Authorization": f"Bearer {token}"} if token and not auth else {},
            timeout=60.0,
            follow_redirects=True,
            verify=environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in ("true", "1"),
        )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """Ask by GET."""
        return self._answer(self._client.build_request("GET", path, params=dict(query)))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask by POST; nothing is asked this way that changes anything."""
        return self._answer(self._client.build_request("POST", path, json=dict(body)))

    @contextmanager
    def blocks(self, path: str, query: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        """Give the content of a file as it comes."""
        response = self._send(self._client.build_request("GET", path, params=dict(query)), stream=True)
        try:
            yield self._blocks(response)
        finally:
            response.close()

    def _blocks(self, response: httpx.Response) -> Generator[bytes, None, None]:
        try:
            yield from response.iter_bytes(_BLOCK_BYTES)
        except httpx.HTTPError as exc:
            raise Unavailable(f"{self.address} broke off: {exc or type(exc).__name__}. Do it again") from exc

    def _answer(self, request: httpx.Request) -> dict[str, Any]:
        response = self._send(request)
        try:
            answer = msgspec.json.decode(response.content)
        except msgspec.DecodeError as exc:
            raise self._stranger(request) from exc
        if not isinstance(answer, dict):
            raise self._stranger(request)
        return answer

    def _stranger(self, request: httpx.Request) -> Invalid:
        return Invalid(f"{self.address} does not answer as MLflow's servers do (asked for {request.url.path})")

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        wait = self._wait_seconds
        for attempt in range(1, self._tries + 1):
            try:
                response = self._client.send(request, stream=stream)
            except httpx.TransportError as exc:
                if attempt == self._tries:
                    self._tries = 1
                    raise Unavailable(f"{self.address} does not answer: {exc or type(exc).__name__}") from exc
            else:
                if response.is_success:
                    self._tries = _TRIES
                    return response
                if response.status_code not in _PASSING or attempt == self._tries:
                    raise self._explained(response)
                response.close()
            time.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")

    def _explained(self, response: httpx.Response) -> Denied | Invalid | NotFound | Unavailable:
        content = response.read()
        response.close()
        try:
            told = msgspec.json.decode(content)
            code, message = str(told["error_code"]), str(told["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            code, message = "", f"HTTP status {response.status_code}"
        status = response.status_code
        if status in (401, 403):
            return Denied(f"{self.address} refuses us ({message}): set {_SECRETS}")
        if status in _PASSING or (status >= 500 and not code):
            return Unavailable(f"{self.address} cannot answer {response.url.path}: {message}")
        if status == 404 or code in _NOT_THERE:
            return NotFound(f"{self.address} has no {response.url.path}: {message}")
        return Invalid(f"{self.address} refuses {response.url.path}: {message}")
