"""Clients as they are: slow, silent, in a hurry, several requests at once."""

import json
import socket
import time

import tournant.serving.connection as connection_module

SLOW = """
class Model:
    def predict_proba(self, rows):
        import time
        time.sleep(max(float(x) for _plane, x in rows))
        return [[0.5, 0.5] for _ in rows]
"""
BODY = b'{"inputs": {"plane": "N1", "x": 0.25}}'
REQUEST = b"POST /predict/flights HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def everything(client):
    """Read until the gateway closes."""
    client.settimeout(10)
    parts = iter(lambda: client.recv(65536), b"")
    return b"".join(parts)


def test_a_body_that_does_not_come_is_not_waited_for(control, gateway, converted, deployment, monkeypatch):
    """The client is told so, and others are served meanwhile."""
    monkeypatch.setattr(connection_module, "BODY_SECONDS", 0.3)
    control.route(deployment(converted(1)))
    control.wait_applied()
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(b"POST /predict/flights HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert gateway.predict(inputs={"plane": "N1", "x": 0.25})[0] == 200
        answer = everything(slow)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"slow_client" in answer


def test_headers_that_do_not_come_are_not_waited_for(control, gateway, converted, deployment, monkeypatch):
    """Neither those of a first request nor those of a second; a client that says nothing for long is let go too."""
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connection_module, "KEEP_ALIVE_SECONDS", 1.0)
    control.route(deployment(converted(1)))
    control.wait_applied()
    address = ("127.0.0.1", gateway.port)
    with socket.create_connection(address) as first, socket.create_connection(address) as silent:
        first.sendall(b"POST /predict/flights HTTP/1.1\r\nHost:")
        with socket.create_connection(address) as second:
            second.sendall(REQUEST + b"POST /predict/flights HTTP/1.1\r\nHost:")
            told = everything(second)
        assert told.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 408" in told
        head, _, body = everything(first).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        assert json.loads(body)["error"]["code"] == "slow_client"
        assert everything(silent) == b""


def test_a_kept_connection_may_rest_between_requests(control, gateway, converted, deployment, monkeypatch):
    """The time for headers begins with their first byte."""
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.2)
    control.route(deployment(converted(1)))
    control.wait_applied()
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        for _ in range(2):
            client.sendall(REQUEST)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.5)


def test_requests_sent_together_are_answered_in_order(control, gateway, converted, deployment):
    """An answer's head and body leave together, and answers do not mix."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    bodies = [json.dumps({"inputs": {"plane": "N1", "x": x / 16}}).encode() for x in range(16)]
    heads = [b"POST /predict/flights HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body) for body in bodies]
    heads[-1] += b"Connection: close\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"".join(head + b"\r\n" + body for head, body in zip(heads, bodies, strict=True)))
        told = everything(client)
    answers = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in told.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert [answer["predictions"][0]["score"] for answer in answers] == [x / 16 for x in range(16)]


def test_a_client_in_a_hurry_is_told_in_time(control, gateway, worked, deployment):
    """It is late, which is no fault of the model; who waits gets the answer."""
    control.route(deployment(worked(1, SLOW)))
    control.wait_applied()
    began = time.monotonic()
    status, answer = gateway.predict(headers={"X-Request-Timeout-Ms": "100"}, inputs={"plane": "N1", "x": 0.8})
    assert time.monotonic() - began < 0.7
    assert (status, answer["error"]["code"]) == (504, "deadline_passed")
    assert gateway.predict(headers={"X-Request-Timeout-Ms": "9000"}, inputs={"plane": "N1", "x": 0.2})[0] == 200
    gateway.stop()
    assert control.total("flights/1", "stable", "errors") == 0
    assert control.total("flights/1", "stable", "over_slo") == 2


def test_a_canary_leaves_stable_its_half_of_a_hurry(control, gateway, worked, converted, deployment):
    """The client's deadline counts for both together."""
    stable, canary = converted(1), worked(2, SLOW)
    control.route(deployment(stable, canary, canary=canary.id, canary_weight=10_000, slo_p99_ms=5_000.0))
    control.wait_applied()
    status, answer = gateway.predict(headers={"X-Request-Timeout-Ms": "400"}, inputs={"plane": "N1", "x": 0.7})
    assert (status, answer["revision"]) == (200, "flights/1")


def test_a_deadline_that_is_none_is_refused(control, gateway, converted, deployment):
    """The header is named, and what was found."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    for asked in ("soon", "-1", "0", "nan", "inf"):
        status, answer = gateway.predict(headers={"X-Request-Timeout-Ms": asked}, inputs={"plane": "N1", "x": 0.25})
        assert status == 422
        assert answer["error"]["place"] == "X-Request-Timeout-Ms"
        assert asked in answer["error"]["message"]
