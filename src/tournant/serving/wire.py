"""HTTP/1.1 as bytes: what an answer is on the wire, and what a request's target names."""

from http import HTTPStatus
from urllib.parse import unquote

import httptools

from tournant.serving.exchange import Reply

__all__ = ["CLOSE", "CONTINUE", "KEEP", "encoded", "path_of"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE, KEEP = b"connection: close\r\n", b"connection: keep-alive\r\n"
_STATUS = {int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


def encoded(reply: Reply, persistence: bytes, *, bodiless: bool) -> bytes:
    """Give an answer's bytes, head and body in one piece: apart they would wake the client twice."""
    headers = b"".join([b"%b: %b\r\n" % pair for pair in reply.headers])
    length = b"content-length: %d\r\n" % len(reply.body)
    return b"".join((_STATUS[reply.status], headers, length, persistence, b"\r\n", b"" if bodiless else reply.body))


def path_of(url: bytes) -> str:
    """Give the unquoted path of a request's target.

    >>> path_of(b"/predict/flights?a=1"), path_of(b"http://host/predict/fl%C3%BCge"), path_of(b"*")
    ('/predict/flights', '/predict/flüge', '*')
    """
    if url[:1] == b"/" and b"%" not in url:
        return url.partition(b"?")[0].partition(b"#")[0].decode("latin-1")
    try:
        path = httptools.parse_url(url).path or b"/"
    except httptools.HttpParserInvalidURLError:
        path = url
    return unquote(path.decode("latin-1"))
