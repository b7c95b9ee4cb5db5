"""A request's headers (or gRPC's metadata), and one of them."""

from collections.abc import Sequence

__all__ = ["Headers", "header"]

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case, as ASGI has them


def header(headers: Headers, name: bytes) -> bytes:
    """Give a header's first value; empty if there is none.

    >>> header([(b"x-user", b"ada")], b"x-user"), header([], b"x-user")
    (b'ada', b'')
    """
    for given, value in headers:
        if given == name:
            return value
    return b""
