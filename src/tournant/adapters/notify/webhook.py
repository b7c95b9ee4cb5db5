"""Messages posted as JSON to a web address."""

from typing import Any

import msgspec

from tournant.adapters.notify.address import name_of
from tournant.domain.notifications import Message
from tournant.errors import Unavailable

__all__ = ["WebhookNotifier"]


class WebhookNotifier:
    """Posts `{"event": "alert.opened", "alert": {…}, "summary": …}` to `url`: the event's kind, and the record it is about.

    The record's name is the event's noun: `alert`, `rollout`, `retraining` or `deployment`. The header `Idempotency-Key`
    lets a receiver drop a message that came twice.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        """Post to `url`."""
        self._url = url
        self._timeout_seconds = timeout_seconds
        host = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
        self.name = name_of(url, f"webhook {host or url.partition('/')[0]}")

    def notify(self, message: Message) -> None:
        """Deliver a message; Unavailable when it was not answered with success."""
        import httpx  # every command opens the house, few notify

        event = message.event
        headers = {"Content-Type": "application/json", "Idempotency-Key": event.id}
        try:
            with httpx.Client(timeout=self._timeout_seconds, trust_env=False) as client:
                answer = client.post(self._url, content=msgspec.json.encode(_body(message)), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._failure(f"{type(exc).__name__}: {exc}") from exc
        if not answer.is_success:
            raise self._failure(f"it answered {answer.status_code} {answer.text[:200].strip()}".rstrip())

    def _failure(self, why: str) -> Unavailable:
        advice = "See that it answers POST with 2xx, or remove it from TOURNANT_WEBHOOKS"
        return Unavailable(f"{why}. {advice}", place=self.name)


def _body(message: Message) -> dict[str, Any]:
    kind = message.event.kind
    about = {kind.partition(".")[0]: message.record} if message.record else {}
    return {"event": kind, **about, "summary": message.event.summary}
