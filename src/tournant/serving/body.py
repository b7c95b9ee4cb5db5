"""A request's body: how large it may be, and what is in it."""

import zlib

from tournant.errors import Invalid
from tournant.serving.failures import Malformed, TooLarge
from tournant.serving.headers import Headers, header

__all__ = ["BODY_LIMIT_BYTES", "too_large", "unpacked"]

BODY_LIMIT_BYTES = 8 << 20


def unpacked(body: bytes, headers: Headers) -> bytes:
    """Give the body as it was before its Content-Encoding; Invalid, Malformed or TooLarge says why it cannot be had."""
    encoding = header(headers, b"content-encoding").strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"deflate"):
        raise Invalid(f"the body's Content-Encoding is {encoding.decode('latin-1')[:40]!r}: expected gzip or deflate")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out by itself which of the two it is
    try:
        plain = unpacker.decompress(body, BODY_LIMIT_BYTES + 1)
    except zlib.error as exc:
        raise Malformed(f"the body cannot be unpacked as {encoding.decode()}: {exc}") from exc
    if len(plain) > BODY_LIMIT_BYTES:
        raise too_large(len(plain))
    if not unpacker.eof:
        raise Malformed(f"the body ends before its {encoding.decode()} stream does")
    return plain


def too_large(size_bytes: int) -> TooLarge:
    """Say that a body is over its limit."""
    megabytes = size_bytes / (1 << 20)
    limit = BODY_LIMIT_BYTES >> 20
    return TooLarge(f"the body has {megabytes:.1f} MB or more, and one request may have {limit} MB: send it in parts")
