"""Durations as people write them."""

import re

from tournant.errors import Invalid

__all__ = ["read_duration", "seconds_of"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def seconds_of(duration: str | int) -> float:
    """Give the seconds of a duration.

    >>> seconds_of("90s"), seconds_of("1.5h"), seconds_of("2w"), seconds_of(0)
    (90.0, 5400.0, 1209600.0, 0.0)
    """
    if isinstance(duration, int):
        return float(duration)
    number = duration.rstrip("mshdw")
    return float(number) * _UNITS[duration[len(number) :]]


def read_duration(text: str) -> float:
    """Give the seconds of a duration that somebody typed; Invalid when it is none."""
    if not re.fullmatch(r"\d+(\.\d+)?(ms|s|m|h|d|w)|0", text):
        raise Invalid(f"{text!r} is no duration, such as 90s, 6h or 7d", place="duration")
    return seconds_of(text) if text != "0" else 0.0
