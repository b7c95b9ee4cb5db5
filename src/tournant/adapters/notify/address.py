"""Names for addresses that hold secrets."""

import hashlib

__all__ = ["name_of"]


def name_of(url: str, shown: str) -> str:
    """Give `shown` with eight digits that tell the address from others like it, without showing the rest of it."""
    return f"{shown} #{hashlib.sha256(url.encode()).hexdigest()[:8]}"
