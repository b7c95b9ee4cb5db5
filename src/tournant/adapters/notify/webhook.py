"""Alerts posted as JSON to a web address."""

import time
from typing import TYPE_CHECKING

import msgspec

from tournant.domain.alerts import Alert
from tournant.errors import Unavailable

if TYPE_CHECKING:
    import httpx

__all__ = ["WebhookNotifier"]


class WebhookNotifier:
    """Posts `{"event": "alert.opened" | "alert.closed", "alert": {…}}` to `url`.

    Tries three times (again on a network error, 429 or 5xx), each within `timeout_seconds`, with `pause_seconds` and
    twice that between. The header `Idempotency-Key` lets a receiver drop a delivery that came twice.
    """

    tries = 3

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, pause_seconds: float = 0.2) -> None:
        """Post to `url`."""
        self.url = url
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds

    def notify(self, alert: Alert, *, opened: bool) -> None:
        """Deliver that an alert opened or closed; Unavailable when no try was answered with success."""
        event = "alert.opened" if opened else "alert.closed"
        body = msgspec.json.encode({"event": event, "alert": alert})
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{alert.id}/{event}"}
        import httpx  # every command opens the house, few notify

        with httpx.Client(timeout=self._timeout_seconds, trust_env=False) as client:
            for number in range(self.tries):
                time.sleep(self._pause_seconds * number)
                failure = self._post(client, body, headers)
                if not failure:
                    return
                if failure.startswith("refused"):
                    break
        raise Unavailable(
            f"the webhook {self.url} did not take {event} of alert {alert.id}: {failure}. "
            "See that it answers POST with 2xx, or remove it from TOURNANT_WEBHOOKS.",
            place=self.url,
        )

    def _post(self, client: "httpx.Client", body: bytes, headers: dict[str, str]) -> str:
        """Give "" on success, else the failure, beginning with `refused` if another try is no use."""
        import httpx

        try:
            status = client.post(self.url, content=body, headers=headers).status_code
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return f"{type(exc).__name__}: {exc}"
        if 200 <= status < 300:
            return ""
        return f"it answered {status}" if status == 429 or status >= 500 else f"refused with {status}"
