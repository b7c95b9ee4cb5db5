"""What is read of a request that will be refused: as little as tells what it is and where it ends.

Where more is asked than can be answered, what refusing costs is what answering lacks.
"""

import re

from tournant.serving.exchange import Call

__all__ = ["glance"]

_LINE = re.compile(rb"POST (/[!-$&->@-~]*) HTTP/1\.1\r\n")  # no query, nothing quoted
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n(?![ \t])")
_ODD = re.compile(rb"\r\n(?:transfer-encoding|upgrade|expect|connection(?!: keep-alive\r))")
_TOLD = re.compile(rb"\r\n(x-request-id|traceparent|authorization):[ \t]*([!-~]+(?: [!-~]+)?)(?=\r)", re.IGNORECASE)


def glance(data: bytes) -> Call | None:
    r"""Give the request that `data` is, without its body and with few headers; None where that takes a closer look.

    Only a whole `POST` with a length, and nothing behind it, is told this way: where a request ends is never guessed.

    >>> glance(b"POST /predict/flights HTTP/1.1\r\nX-Request-Id: 7\r\nContent-Length: 2\r\n\r\n{}")
    Call(method='POST', path='/predict/flights', headers=[(b'x-request-id', b'7')], body=b'')
    >>> glance(b"POST /predict/flights HTTP/1.1\r\nContent-Length: 3\r\n\r\n{}")
    """
    line = _LINE.match(data)
    end = data.find(b"\r\n\r\n")
    if not line or end < 0:
        return None
    head = data[line.end() - 2 : end + 2]
    lower = head.lower()
    length = _LENGTH.search(lower)
    if (
        not length
        or len(data) != end + 4 + int(length[1])
        or lower.count(b"\ncontent-length") > 1
        or _ODD.search(lower)
    ):
        return None
    return Call("POST", line[1].decode(), [(name.lower(), value) for name, value in _TOLD.findall(head)])
