"""What is refused unread: only where it is certain what the request is and where it ends."""

import pytest

from tournant.serving.shedding import glance

LINE = b"POST /predict/flights HTTP/1.1\r\n"
LENGTH = b"Content-Length: 2\r\n"


def test_what_names_a_request_is_kept():
    """Whoever refuses it gives its id back, checks its token, and logs its trace."""
    headers = b"Authorization: Bearer t0\r\nX-Request-ID: a-7\r\nAccept: */*\r\nConnection: keep-alive\r\ntraceparent: 00-1\r\n"
    call = glance(LINE + headers + LENGTH + b"\r\n{}")
    assert call is not None
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
def test_all_else_takes_a_closer_look(data):
    """A guess here would be read as another request there."""
    assert glance(data) is None
