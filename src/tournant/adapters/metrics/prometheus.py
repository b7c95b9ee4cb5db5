"""Metrics from a Prometheus, or anything that answers its HTTP API."""

import math
from typing import TYPE_CHECKING, Any

import msgspec

from tournant.errors import Unavailable

if TYPE_CHECKING:
    import httpx

__all__ = ["PrometheusSource"]


class PrometheusSource:
    """Asks `URL/api/v1/query`: an instant query that gives one number."""

    def __init__(self, *, timeout_seconds: float = 5.0) -> None:
        """Wait so long for an answer."""
        self._timeout_seconds = timeout_seconds

    def value(self, url: str, query: str) -> float | None:
        """Give the value now, None for no data (no series, or NaN); Unavailable with the reason when there is no one number."""
        import httpx  # every command opens the house, few ask for metrics

        address = url.rstrip("/") + "/api/v1/query"
        try:
            with httpx.Client(timeout=self._timeout_seconds, trust_env=False) as client:
                answer = client.get(address, params={"query": query})
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unavailable(f"Prometheus does not answer: {type(exc).__name__}: {exc}") from exc
        return _number(_result(answer))


def _result(answer: "httpx.Response") -> dict[str, Any]:
    """Read an answer's data, or say why there is none: Prometheus explains itself in JSON, whatever the status."""
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise Unavailable(f"that is no Prometheus: it answered {answer.status_code} without JSON") from exc
    if body.get("status") != "success" or not isinstance(body.get("data"), dict):
        raise Unavailable(f"Prometheus answered {answer.status_code}: {body.get('error') or 'no reason given'}")
    data: dict[str, Any] = body["data"]
    return data


def _number(data: dict[str, Any]) -> float | None:
    kind, result = data.get("resultType"), data.get("result", [])
    if kind == "vector" and len(result) > 1:
        raise Unavailable(f"the query gives {len(result)} series, not one: aggregate them, as in sum(…)")
    if kind not in ("vector", "scalar"):
        raise Unavailable(f"the query gives a {kind}, not one number now")
    if kind == "vector" and not result:
        return None
    _, text = result if kind == "scalar" else result[0].get("value", (0, "NaN"))
    value = float(text)  # also +Inf, -Inf and NaN, as Prometheus writes them
    return None if math.isnan(value) else value
