"""Heads that are known: what is read of them, and what is left to the parser."""

import pytest

from tournant.serving import heads as heads_module
from tournant.serving.exchange import Call
from tournant.serving.heads import Heads

HEAD = b"POST /predict/flights HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
HEADERS = ((b"host", b"x"), (b"content-length", b"4"))


@pytest.fixture
def heads():
    known = Heads()
    known.learn(HEAD + b"body", Call("POST", "/predict/flights", HEADERS, b"body"), 4)
    return known


def test_another_body_is_read_behind_a_known_head(heads):
    """All that the head says is as it was."""
    assert heads.read(HEAD + b"more") == Call("POST", "/predict/flights", HEADERS, b"more")


@pytest.mark.parametrize(
    "data", [b"", HEAD, HEAD + b"bod", HEAD + b"bodybody", HEAD[:-2], HEAD.replace(b"host: x", b"host: y") + b"body"]
)
def test_what_is_not_one_whole_request_is_parsed(heads, data):
    """Too little, too much, or another head."""
    assert heads.read(data) is None


@pytest.mark.parametrize(
    ("name", "value"), [(b"transfer-encoding", b"chunked"), (b"expect", b"100-continue"), (b"upgrade", b"h2c")]
)
def test_heads_that_are_not_all_there_is_to_say_are_parsed_each_time(name, value):
    """They tell where the body ends in another way, or want an answer before it."""
    heads, data = Heads(), HEAD.replace(b"host: x", name + b": " + value) + b"body"
    heads.learn(data, Call("POST", "/", ((name, value), (b"content-length", b"4"))), 4)
    assert heads.read(data) is None


def test_what_came_with_something_else_is_not_learned():
    """The head of two requests in one piece would be taken for another's."""
    heads = Heads()
    heads.learn(HEAD + b"body" + HEAD + b"body", Call("POST", "/predict/flights", HEADERS, b"body"), 4)
    assert heads.read(HEAD + b"body" + HEAD + b"body") is None


def test_heads_take_little_memory(monkeypatch):
    """Clients that name each request never send a head twice."""
    monkeypatch.setattr(heads_module, "KNOWN_HEADS", 8)
    heads = Heads()
    named = [HEAD.replace(b"host: x", b"x-request-id: %d" % number) + b"body" for number in range(20)]
    for data in named:
        heads.learn(data, Call("POST", "/", HEADERS), 4)
    assert sum(heads.read(data) is not None for data in named) <= 8
    long = HEAD.replace(b"host: x", b"host: " + b"x" * heads_module.KNOWN_BYTES) + b"body"
    heads.learn(long, Call("POST", "/", HEADERS), 4)
    assert heads.read(long) is None
