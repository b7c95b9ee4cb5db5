"""Random identifiers, drawn from the system in blocks: one call for hundreds of them."""

import os
from collections.abc import Iterator

__all__ = ["identifiers"]

_BLOCK = 512


def identifiers(size_bytes: int) -> Iterator[str]:
    """Give identifiers of `size_bytes` random bytes in hex, without end.

    >>> drawn = identifiers(12)
    >>> len(next(drawn)), next(drawn) == next(drawn)
    (24, False)
    """
    width = 2 * size_bytes
    while True:
        block = os.urandom(size_bytes * _BLOCK).hex()
        for start in range(0, len(block), width):
            yield block[start : start + width]
