"""Notifiers deliver, and say what failed: to real receivers on loopback, a web server and a mail server."""

import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from email.message import EmailMessage
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from structlog.testing import capture_logs

from tournant.adapters.notify import AppriseNotifier, LogNotifier, WebhookNotifier, open_notifiers
from tournant.config import Settings
from tournant.domain.alerts import Alert, AlertKind, AlertState, Severity
from tournant.domain.control import Event
from tournant.domain.notifications import Message, Record, compose
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy
from tournant.errors import Invalid, Unavailable

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
ROLLOUT = Rollout(
    id="r1",
    deployment="flights",
    revision="flights/2",
    stable="flights/1",
    strategy=RolloutStrategy(),
    phase=Phase.FAILED,
    started_at=1.0,
    step_started_at=1.0,
)


def message(kind: str, record: Record | None, summary: str = "") -> Message:
    event = Event(
        id="0123", time=1.0, recorded_at=1.0, kind=kind, subject="deployment/flights", actor="ada", summary=summary
    )
    composed = compose(event, record)
    assert composed
    return composed


OPENED = message("alert.opened", ALERT, "flights: performance: log loss is up")
CLOSED = message("alert.closed", ALERT, "flights: performance alert closed")
FAILED = message("rollout.failed", ROLLOUT, "flights/2: the error rate is above stable's by 0.4 points")


class Hook:
    """A receiver that answers with one status, and keeps what it got."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []


@pytest.fixture
def serve() -> Iterator[Any]:
    """Start receivers on loopback and stop them at the end; give host, port and path."""
    servers = []

    def start(hook: Hook) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                hook.keys.append(self.headers["Idempotency-Key"])
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}/hook"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Mailbox:
    """What a mail server on loopback was given; it refuses addresses at `refused.example`."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.port = 0

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's
        if address.endswith("@refused.example"):
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        parser: BytesParser[EmailMessage] = BytesParser(policy=email.policy.default)  # type: ignore[assignment]
        self.mails.append(parser.parsebytes(envelope.content))
        self.recipients += envelope.rcpt_tos
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A real SMTP server on loopback."""
    mailbox = Mailbox()
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        mailbox.port = probe.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    yield mailbox
    controller.stop()


def test_webhook_posts_an_alert_as_json(serve: Any) -> None:
    """The kind of event, the whole alert, and a key that tells a message that came twice."""
    hook = Hook()
    WebhookNotifier("http://" + serve(hook)).notify(OPENED)
    (body,) = hook.bodies
    assert body["event"] == "alert.opened"
    assert body["alert"]["id"] == "a1" and body["alert"]["severity"] == "critical"
    assert hook.keys == ["0123"]


def test_webhook_posts_a_rollout_as_json(serve: Any) -> None:
    """The rollout as it is, and why in words."""
    hook = Hook()
    WebhookNotifier("http://" + serve(hook)).notify(FAILED)
    (body,) = hook.bodies
    assert set(body) == {"event", "rollout", "summary"}
    assert body["event"] == "rollout.failed" and body["rollout"]["revision"] == "flights/2"
    assert body["summary"] == "flights/2: the error rate is above stable's by 0.4 points"


@pytest.mark.parametrize("status", [404, 500])
def test_webhook_says_what_it_was_answered(serve: Any, status: int) -> None:
    """Each try is one request: who calls decides when to try again."""
    hook = Hook(status)
    with pytest.raises(Unavailable, match=f"it answered {status}"):
        WebhookNotifier("http://" + serve(hook)).notify(OPENED)
    assert len(hook.bodies) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "http://[bad", "nowhere"])
def test_an_address_that_does_not_answer_is_unavailable(url: str) -> None:
    """Refused connections and nonsense addresses are one kind of error."""
    with pytest.raises(Unavailable):
        WebhookNotifier(url).notify(OPENED)


def test_log_notifier_writes_by_severity() -> None:
    """A critical alert is an error line; what failed warns; closing is a note."""
    with capture_logs() as lines:
        for each in (OPENED, FAILED, CLOSED):
            LogNotifier().notify(each)
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "flights: alert opened"),
        ("warning", "flights: rollout failed"),
        ("info", "flights: alert closed"),
    ]
    assert lines[0]["subject"] == "deployment/flights"


def test_mail_arrives(mailbox: Any) -> None:
    """With the title as its subject, and the event's words, who did it and when as its text."""
    url = f"mailto://127.0.0.1:{mailbox.port}?from=tournant@example.org&to=ada@example.org,bob@example.org"
    AppriseNotifier(url).notify(FAILED)
    assert sorted(set(mailbox.recipients)) == ["ada@example.org", "bob@example.org"]
    mail = mailbox.mails[0]
    assert mail["Subject"] == "flights: rollout failed"
    body = mail.get_body(("plain", "html"))
    assert body
    assert "the error rate is above stable" in body.get_content()
    assert "by ada, 1970-01-01 00:00 UTC" in body.get_content()


def test_refused_mail_says_why(mailbox: Any) -> None:
    """What the mail server said reaches the person, and no password does."""
    url = f"mailto://127.0.0.1:{mailbox.port}?from=tournant@example.org&to=nobody@refused.example&pass=hunter2"
    with pytest.raises(Unavailable, match="no such user here") as caught:
        AppriseNotifier(url).notify(FAILED)
    assert "hunter2" not in str(caught.value) and "hunter2" not in AppriseNotifier(url).name


def test_apprise_posts_json(serve: Any) -> None:
    """Its own form: title, message and how grave it is."""
    hook = Hook()
    url = "json://" + serve(hook)
    for each in (OPENED, FAILED, CLOSED):
        AppriseNotifier(url).notify(each)
    assert [(body["title"], body["type"]) for body in hook.bodies] == [
        ("flights: alert opened", "failure"),
        ("flights: rollout failed", "warning"),
        ("flights: alert closed", "success"),
    ]
    assert "log loss is up" in hook.bodies[0]["message"]


def test_apprise_says_what_failed(serve: Any) -> None:
    """Also when several are at it at the same time: each gets its own reason."""
    urls = ["json://" + serve(Hook(500)), "json://" + serve(Hook(403))]
    said: dict[str, str] = {}

    def send(url: str) -> None:
        with pytest.raises(Unavailable) as caught:
            AppriseNotifier(url).notify(FAILED)
        said[url] = str(caught.value)

    threads = [threading.Thread(target=send, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "500" in said[urls[0]] and "403" not in said[urls[0]]
    assert "403" in said[urls[1]] and "500" not in said[urls[1]]


def test_what_failed_is_said_without_the_address() -> None:
    """The network's own words name the whole address, which for a web service is its secret."""
    with pytest.raises(Unavailable, match="Connection refused") as caught:
        AppriseNotifier("json://127.0.0.1:1/s3cret").notify(FAILED)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense://x", "mailto://", "not an address"])
def test_an_address_apprise_does_not_know_is_an_error_without_the_address(url: str) -> None:
    """It may hold a secret; the name tells which."""
    with pytest.raises(Invalid, match=r"apprise .* knows no such address; see TOURNANT_NOTIFY") as caught:
        AppriseNotifier(url).notify(FAILED)
    assert url not in str(caught.value) and caught.value.place.rpartition("#")[2].isalnum()


def test_settings_become_notifiers(monkeypatch: Any, tmp_path: Path) -> None:
    """Commas inside an address are its own; a Slack webhook gets Slack's form, wherever it stands; names show no secret."""
    monkeypatch.setenv(
        "TOURNANT_WEBHOOKS", "http://a.example/x?token=s3cret, https://hooks.slack.com/services/T/B/s3cret"
    )
    monkeypatch.setenv("TOURNANT_NOTIFY", "mailto://u:s3cret@h.example?to=a@h.example,b@h.example, slack://s3cret/B/C")
    notifiers = open_notifiers(Settings.load(home=tmp_path))
    assert [type(notifier) for notifier in notifiers] == [
        LogNotifier,
        WebhookNotifier,
        AppriseNotifier,
        AppriseNotifier,
        AppriseNotifier,
    ]
    names = [notifier.name for notifier in notifiers]
    assert len(set(names)) == 5
    assert [name.partition(" #")[0] for name in names] == ["log", "webhook a.example", "mailto", "slack", "https"]
    assert "s3cret" not in " ".join(names)
