"""Which names and texts are kept: anything a person can read, in bounds."""

from collections.abc import Mapping

from tournant.errors import Invalid

__all__ = ["check_key", "check_texts"]

LONGEST_KEY = 250
LONGEST_VALUE = 100_000


def check_key(key: str, noun: str, *, longest: int = LONGEST_KEY) -> None:
    """Invalid unless a name has 1 to `longest` printable characters."""
    if not key.strip() or len(key) > longest or any(ord(character) < 32 for character in key):
        shown = repr(key) if len(key) <= 80 else f"{key[:60]!r}… ({len(key)} characters)"
        raise Invalid(f"{shown} is no name for {noun}s: 1 to {longest} printable characters", place=noun)


def check_texts(values: Mapping[str, str], noun: str) -> None:
    """Invalid unless every key is a name and every value a text that a database keeps."""
    for key, value in values.items():
        check_key(key, noun)
        if len(value) > LONGEST_VALUE:
            raise Invalid(f"{noun} {key!r} has {len(value):,} characters; {LONGEST_VALUE:,} are the most", place=key)
        if "\0" in value:
            raise Invalid(f"{noun} {key!r} has a NUL character in it, which no database keeps", place=key)
