"""Notifiers deliver, try again, and say what failed."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from structlog.testing import capture_logs

from tournant.adapters.notify import LogNotifier, WebhookNotifier
from tournant.domain.alerts import Alert, AlertKind, AlertState, Severity
from tournant.errors import Unavailable

ALERT = Alert(
    id="a1",
    deployment="flights",
    monitor="flights/performance",
    kind=AlertKind.PERFORMANCE,
    severity=Severity.CRITICAL,
    state=AlertState.OPEN,
    opened_at=1.0,
    summary="log loss is up",
)


class Hook:
    """A receiver that answers with the given statuses in turn, and keeps what it got."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[dict[str, object]] = []
        self.keys: list[str] = []


@pytest.fixture
def serve() -> Iterator[object]:
    """Start receivers on loopback and stop them at the end."""
    servers = []

    def start(hook: Hook) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                hook.keys.append(self.headers["Idempotency-Key"])
                self.send_response(hook.statuses.pop(0))
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/hook"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_webhook_posts_the_alert_as_json(serve) -> None:
    """The body holds the event and the whole alert."""
    hook = Hook(204)
    WebhookNotifier(serve(hook)).notify(ALERT, opened=True)
    assert hook.bodies[0]["event"] == "alert.opened"
    assert hook.bodies[0]["alert"]["kind"] == "performance"
    assert hook.keys == ["a1/alert.opened"]


def test_webhook_tries_again_after_a_server_error(serve) -> None:
    """Two failures are forgiven, with the same idempotency key each time."""
    hook = Hook(503, 500, 200)
    WebhookNotifier(serve(hook), pause_seconds=0.0).notify(ALERT, opened=False)
    assert hook.keys == ["a1/alert.closed"] * 3


def test_webhook_gives_up_after_three_tries(serve) -> None:
    """The error names the address and the last answer."""
    hook = Hook(500, 500, 500, 200)
    url = serve(hook)
    with pytest.raises(Unavailable, match="it answered 500") as caught:
        WebhookNotifier(url, pause_seconds=0.0).notify(ALERT, opened=True)
    assert caught.value.place == url
    assert len(hook.bodies) == 3


def test_webhook_does_not_repeat_what_is_refused(serve) -> None:
    """A 404 will be a 404 again."""
    hook = Hook(404, 200)
    with pytest.raises(Unavailable, match="refused with 404"):
        WebhookNotifier(serve(hook), pause_seconds=0.0).notify(ALERT, opened=True)
    assert len(hook.bodies) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "http://[bad", "nowhere"])
def test_an_address_that_does_not_answer_is_unavailable(url: str) -> None:
    """Refused connections and nonsense addresses are one kind of error."""
    with pytest.raises(Unavailable):
        WebhookNotifier(url, pause_seconds=0.0).notify(ALERT, opened=True)


def test_log_notifier_writes_by_severity() -> None:
    """A critical alert is an error line; closing is a note."""
    with capture_logs() as lines:
        LogNotifier().notify(ALERT, opened=True)
        LogNotifier().notify(ALERT, opened=False)
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "alert opened"),
        ("info", "alert closed"),
    ]
    assert lines[0]["deployment"] == "flights"
