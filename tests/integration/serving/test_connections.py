"""HTTP as it comes over the wire: versions, encodings and orders that few clients use, and what is no HTTP at all."""

import json
import socket
import time

import msgspec
import pytest

import tournant.serving.connection as connection_module
from tournant.serving.app import App

BODY = b'{"inputs": {"plane": "N1", "x": 0.25}}'
HEAD = b"POST /predict/flights HTTP/1.1\r\nHost: x\r\n"
SLOW = """
class Model:
    def predict_proba(self, rows):
        import time
        time.sleep(0.2)
        return [[0.5, 0.5] for _ in rows]
"""


@pytest.fixture
def address(control, gateway, converted, deployment):
    control.route(deployment(converted(1)))
    control.wait_applied()
    return ("127.0.0.1", gateway.port)


def told(address, *parts):
    """Send, say that this was all, and read until the gateway closes."""
    with socket.create_connection(address, timeout=10) as client:
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def with_length(body=BODY, head=HEAD):
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def test_a_body_in_chunks(address):
    """Its length is not told before."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:])) + b"0\r\n\r\n"
    answer = told(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_every_byte_by_itself(address):
    """Where the network cuts is of no importance."""
    with socket.create_connection(address, timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in with_length():
            client.sendall(bytes([byte]))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_head_that_was_seen_before_says_the_same_again(address):
    """It is not parsed again, and its body is another: whole, cut, or with the next request behind it."""
    with socket.create_connection(address, timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def score(*parts):
            for part in parts:
                client.sendall(part)
                time.sleep(0.02)
            answer = client.recv(65536)
            return json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"][0]["score"]

        scores = [score(with_length(BODY.replace(b"0.25", x))) for x in (b"0.25", b"0.50", b"0.75")]
        assert len(set(scores)) == 3
        cut = with_length()
        assert [score(cut[:-5], cut[-5:]), score(cut[:40], cut[40:]), score(cut)] == [scores[0]] * 3
        client.sendall(cut + cut + cut[:-1])
        client.sendall(cut[-1:] + cut)
        told = b""
        while told.count(b'"score"') < 4:
            told += client.recv(65536)
        assert told.count(b"HTTP/1.1 200 OK\r\n") == 4


def test_the_end_of_a_head_is_no_head(address):
    """What completed a request, or came behind another, is not taken for one when it comes alone."""
    whole, other = with_length(), with_length(head=HEAD.replace(b"Host: x", b"Host: other"))
    for first, second in ((whole[:40], whole[40:]), (other[:-3], other[-3:] + whole)):
        with socket.create_connection(address, timeout=10) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(first)
            time.sleep(0.05)
            client.sendall(second)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert told(address, second).startswith(b"HTTP/1.1 400 ")


def test_who_asks_whether_to_go_on_is_told(address):
    """Curl does for larger bodies; a body that will not be taken is refused before it is sent."""
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_connections_are_kept_as_asked(address, version, header, kept):
    """HTTP/1.0 keeps only what asks for it, and is told so."""
    request = with_length(head=HEAD.replace(b"1.1", version) + header)
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(request)
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (b"connection: close" in answer) is not kept
        if not kept:
            assert client.recv(65536) == b""
            return
        assert (b"connection: keep-alive" in answer) is (version == b"1.0")
        client.sendall(request)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_has_no_body(address):
    """But the length it would have."""
    head, _, body = told(address, b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 0" not in head
    assert body == b""


def test_what_is_no_http_is_told_so(address):
    """And nothing after it is read."""
    head, _, body = told(address, b"\x16\x03\x01 hello\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["error"]["code"] == "malformed"


def test_two_lengths_are_no_request(address):
    """Who reads the one and who reads the other would see different requests."""
    head = HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert told(address, head).startswith(b"HTTP/1.1 400 ")


def test_headers_have_an_end(address):
    """No memory for whoever sends headers for ever."""
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(HEAD)
        answer = b""
        try:
            for number in range(2_000):
                client.sendall(b"X-%d: %s\r\n" % (number, b"a" * 100))
            answer = client.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return  # it is closed while more comes
        assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_wish_for_another_protocol_is_passed_over(address):
    """Java's client asks for HTTP/2 with its first request."""
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    answer = told(address, with_length(head=HEAD + wish))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_this_is_no_proxy(address):
    """Nor does a connection become a tunnel."""
    answer = told(address, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n" + with_length())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"200 OK" not in answer


def test_paths_are_unquoted(address):
    """Also in a target that names the host, as proxies send it."""
    quoted = with_length(head=b"POST http://x/predict/fl%69ghts?debug=1 HTTP/1.1\r\nHost: x\r\n")
    assert told(address, quoted).startswith(b"HTTP/1.1 200 OK\r\n")


def test_many_requests_at_once_are_answered_in_order(control, gateway, worked, deployment, monkeypatch):
    """While they wait the connection is not read; a client that has said all it had to gets all its answers."""
    monkeypatch.setattr(connection_module, "PIPELINED", 2)
    control.route(deployment(worked(1, SLOW)))
    control.wait_applied()
    heads = [HEAD + b"X-Request-Id: r%d\r\n" % number for number in range(6)]
    answer = told(("127.0.0.1", gateway.port), *(with_length(head=head) for head in heads))
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"x-request-id")] == [
        b"x-request-id: r%d" % number for number in range(6)
    ]


def test_a_client_that_does_not_read_holds_no_answers(address):
    """What it asks more is read when it has taken what there is, and then answered."""
    wanted = 80
    with socket.create_connection(address, timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        client.settimeout(10)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 4
        got, sent = b"", 0
        while sent < wanted:
            client.sendall(request)
            sent += 4
            if sent % 20 == 0:
                got += client.recv(1 << 20)
        client.shutdown(socket.SHUT_WR)
        got += b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert got.count(b"HTTP/1.1 200 OK\r\n") == wanted


def test_a_deployment_called_health_needs_the_token_too(control, run, converted, deployment):
    """Only what watches the process asks without one; who has none is refused before the body is sent."""
    gateway = run(token="secret")
    control.route(msgspec.structs.replace(deployment(converted(1)), name="health"))
    control.wait_applied()
    address = ("127.0.0.1", gateway.port)
    assert told(address, with_length(head=b"POST /predict/health HTTP/1.1\r\nHost: x\r\n")).startswith(b"HTTP/1.1 401 ")
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"POST /predict/health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert gateway.call("GET", "/health/live")[0] in (200, 404)
    assert gateway.call("GET", "/v2/health/live")[0] == 200


def test_a_fault_of_ours_closes_the_connection_and_no_other(address, monkeypatch):
    """Its client sees that there will be no answer, and need not wait for it."""

    async def faulty(_app, call):
        raise AssertionError(call.path)

    with monkeypatch.context() as patch:
        patch.setattr(App, "respond", faulty)
        assert told(address, with_length()) == b""
    assert told(address, with_length()).startswith(b"HTTP/1.1 200 OK\r\n")
