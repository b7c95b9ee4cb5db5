"""Deadlines that clients ask for."""

from tournant.errors import Invalid
from tournant.serving.headers import Headers, header

__all__ = ["asked_seconds"]

_ASKED = b"x-request-timeout-ms"


def asked_seconds(headers: Headers) -> float | None:
    """Give how long a client says it will wait (`X-Request-Timeout-Ms`), or None; Invalid if that is no positive number.

    >>> asked_seconds([(b"x-request-timeout-ms", b"250")]), asked_seconds([])
    (0.25, None)
    """
    given = header(headers, _ASKED)
    if not given:
        return None
    try:
        asked = float(given)
    except ValueError:
        asked = 0.0
    if not 0 < asked < float("inf"):
        told = given.decode("latin-1")[:40]
        message = f"the header X-Request-Timeout-Ms is {told!r}: expected milliseconds, a number above 0"
        raise Invalid(message, place="X-Request-Timeout-Ms")
    return asked / 1e3
