"""Page tokens, as MLflow makes them: where the next page begins."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from tournant.errors import Invalid

__all__ = ["next_token", "read_token", "slice_page"]

T = TypeVar("T")


def read_token(token: str) -> int:
    """Give the offset in a token; an empty one begins at the beginning."""
    if not token:
        return 0
    try:
        offset = msgspec.json.decode(base64.b64decode(token, validate=True))["offset"]
        if not isinstance(offset, int) or not 0 <= offset < 2**53:
            raise ValueError("its offset is no count")
    except (binascii.Error, msgspec.DecodeError, KeyError, TypeError, ValueError) as exc:
        raise Invalid(f"Invalid page token, could not base64-decode: {exc}", place="page_token") from exc
    return offset


def next_token(offset: int) -> str:
    """Give the token of the page that begins at an offset.

    >>> read_token(next_token(50))
    50
    """
    return base64.b64encode(msgspec.json.encode({"offset": offset})).decode()


def slice_page(found: Sequence[T], token: str, limit: int) -> tuple[list[T], str | None]:
    """Cut a page out of all that was found, and give the next one's token."""
    offset = read_token(token)
    more = len(found) > offset + limit
    return list(found[offset : offset + limit]), next_token(offset + limit) if more else None
