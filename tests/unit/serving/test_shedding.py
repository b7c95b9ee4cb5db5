"""What is refused unread: only where it is certain what the request is and where it ends."""

import pytest

from tournant.errors import Denied
from tournant.serving.exchange import Reply
from tournant.serving.heads import KNOWN_HEADS
from tournant.serving.shedding import Shedder, glance

LINE = b"POST /predict/flights HTTP/1.1\r\n"
LENGTH = b"Content-Length: 2\r\n"


class Overwhelmed:
    """A gateway that lets nobody in, and who asks it."""

    protocol = "predict"

    def __init__(self):
        self.endpoints = {"flights": object()}
        self.fleet = self
        self.limit_ms = 50.0
        self.looked_at = []

    def too_long_ms(self, _endpoint):
        return self.limit_ms

    def deployment(self, path):
        self.looked_at.append(path)
        return path.rpartition("/")[2]

    def check(self, call):
        if (b"authorization", b"Bearer wrong") in call.headers:
            raise Denied("wrong")


@pytest.fixture
def gateway():
    """Give a gateway that is asked too much."""
    return Overwhelmed()


@pytest.fixture
def shedder(gateway):
    """Refuse for it, with what was counted as the request's id."""
    return Shedder(
        gateway,
        lambda _path: gateway,
        gateway.check,
        lambda _face, error: Reply(503, error.message.encode()),
        lambda _face, call, status, error, _started: f"{call.path} {status} {error} {len(call.headers)}".encode(),
    )


def test_a_refusal_is_a_whole_answer(shedder, gateway):
    """With the request's id, and what is too long; a head is looked at once, and its body's length each time."""
    data = LINE + LENGTH + b"\r\n{}"
    for limit in (50.0, 60.0):
        gateway.limit_ms = limit
        head, _, body = shedder.shed(data).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and b"\r\nx-request-id: /predict/flights 503 overloaded 0\r\n" in head
        assert body == b"overloaded: requests would wait for more than %d ms; try again later" % limit
        assert b"\r\ncontent-length: %d" % len(body) in head
    assert shedder.shed(data[:-1]) is None
    assert shedder.shed(data + data) is None
    assert gateway.looked_at == ["/predict/flights"]
    gateway.limit_ms = 0.0
    assert shedder.shed(data) is None


def test_who_may_not_ask_is_not_told_about_the_load(shedder):
    """The long way says what is wrong with a token, or that there is no such deployment."""
    rest = LENGTH + b"\r\n{}"
    assert shedder.shed(LINE + b"Authorization: Bearer right\r\n" + rest)
    assert shedder.shed(LINE + b"Authorization: Bearer wrong\r\n" + rest) is None
    assert shedder.shed(LINE.replace(b"flights", b"trains") + rest) is None


def test_heads_are_remembered_within_bounds(shedder):
    """Those that name their request are not, for they do not come again; nor are long ones."""
    for number in range(2 * KNOWN_HEADS):
        shedder.shed(LINE + b"X-Request-Id: %d\r\n" % number + LENGTH + b"\r\n{}")
    assert shedder.shed(LINE + b"X-Other: " + 4096 * b"x" + b"\r\n" + LENGTH + b"\r\n{}")
    assert not shedder._heads
    for number in range(2 * KNOWN_HEADS):
        shedder.shed(LINE + b"X-Other: %d\r\n" % number + LENGTH + b"\r\n{}")
        assert len(shedder._heads) <= KNOWN_HEADS


def test_what_names_a_request_is_kept():
    """Whoever refuses it gives its id back, checks its token, and logs its trace."""
    headers = b"Authorization: Bearer t0\r\nX-Request-ID: a-7\r\nAccept: */*\r\nConnection: keep-alive\r\ntraceparent: 00-1\r\n"
    found = glance(LINE + headers + LENGTH + b"\r\n")
    assert found is not None and found.body_bytes == 2 and found.unique
    call = found.call
    assert (call.method, call.path, call.body) == ("POST", "/predict/flights", b"")
    assert call.headers == [(b"authorization", b"Bearer t0"), (b"x-request-id", b"a-7"), (b"traceparent", b"00-1")]


@pytest.mark.parametrize(
    "data",
    [
        LINE + LENGTH + b"\r\n{",
        LINE + LENGTH + b"\r\n{}" + LINE,
        LINE + LENGTH,
        LINE + b"\r\n",
        LINE + LENGTH + LENGTH + b"\r\n{}",
        LINE + b"Content-Length: 2, 2\r\n\r\n{}",
        LINE + b"Content-Length: 2\r\n 3\r\n\r\n{}",
        LINE + b"Content-Length: +2\r\n\r\n{}",
        LINE + b"Content-Length : 2\r\n\r\n{}",
        LINE + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n{}",
        LINE + b"Transfer-Encoding : chunked\r\n" + LENGTH + b"\r\n{}",
        LINE + b"Connection: close\r\n" + LENGTH + b"\r\n{}",
        LINE + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH + b"\r\n{}",
        LINE + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n{}",
        LINE.replace(b"1.1", b"1.0") + LENGTH + b"\r\n{}",
        LINE.replace(b"POST", b"GET") + LENGTH + b"\r\n{}",
        LINE.replace(b"/predict", b"http://x/predict") + LENGTH + b"\r\n{}",
        LINE.replace(b"flights", b"fl%C3%BCge") + LENGTH + b"\r\n{}",
        LINE.replace(b"flights", b"flights?a=1") + LENGTH + b"\r\n{}",
        b"\r\n" + LINE + LENGTH + b"\r\n{}",
        b"",
    ],
)
def test_all_else_takes_a_closer_look(shedder, data):
    """A guess here would be read as another request there."""
    assert shedder.shed(data) is None
