"""Freeze windows: times in which no release goes forward, weekly or by date, in a place's own time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Freeze", "FreezeWindow", "find_freeze"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(r"([A-Za-z]{3})[a-z]*(?:\s+(\d{1,2}):(\d{2}))?")
_DATED = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{1,2}):(\d{2}))?")
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow:
    """From `start` until `end`, both weekly (`Fri 17:00`) or both by date (`2026-12-24`, `2026-12-24 12:00`), in `zone`."""

    start: str
    end: str
    zone: str = "UTC"
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no time, no place, or never ends."""
        try:
            zone = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise ValueError(f"a freeze window's zone is a place such as Europe/Berlin, not {self.zone!r}") from exc
        kinds = [_kind(text) for text in (self.start, self.end)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"a freeze window is weekly or by date, not from {self.start!r} until {self.end!r}")
        if kinds[0] == "dated" and _dated(self.start, zone) >= _dated(self.end, zone):
            raise ValueError(f"a freeze window ends after it starts, not from {self.start!r} until {self.end!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A window that is in force: until when (epoch seconds), and why."""

    until: float
    why: str


def find_freeze(windows: Sequence[FreezeWindow], now: float) -> Freeze | None:
    """Give the window in force at `now` (epoch seconds) that ends last.

    >>> weekend = FreezeWindow(start="Fri 17:00", end="Mon 08:00", zone="Europe/Berlin", reason="nobody is here")
    >>> saturday = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
    >>> found = find_freeze([weekend], saturday)
    >>> datetime.fromtimestamp(found.until, UTC).isoformat(), found.why
    ('2026-11-30T07:00:00+00:00', ': nobody is here')
    >>> find_freeze([weekend], saturday - 86_400.0) is None
    True
    """
    ends = [(end, window) for window in windows if (end := _end_if_in_force(window, now)) is not None]
    if not ends:
        return None
    until, window = max(ends, key=lambda pair: pair[0])
    return Freeze(until=until, why=f": {window.reason}" if window.reason else "")


def _end_if_in_force(window: FreezeWindow, now: float) -> float | None:
    zone = ZoneInfo(window.zone)
    if _kind(window.start) == "dated":
        start, end = _dated(window.start, zone).timestamp(), _dated(window.end, zone).timestamp()
        return end if start <= now < end else None
    local = datetime.fromtimestamp(now, UTC).astimezone(zone)
    opens, closes = (_weekly(text, local, zone) for text in (window.start, window.end))
    closes = (
        closes if closes > opens else closes + _WEEK
    )  # both in wall-clock time: a change of the clocks moves the end with it
    for earlier in (timedelta(0), _WEEK):
        if (opens - earlier).timestamp() <= now < (closes - earlier).timestamp():
            return (closes - earlier).timestamp()
    return None


def _kind(text: str) -> str:
    weekly = _WEEKLY.fullmatch(text.strip())
    if weekly and weekly[1].lower() in _DAYS and _is_time(weekly[2], weekly[3]):
        return "weekly"
    dated = _DATED.fullmatch(text.strip())
    if dated and _is_time(dated[2], dated[3]):
        date.fromisoformat(dated[1])
        return "dated"
    raise ValueError(f"a freeze window's time is like 'Fri 17:00' or '2026-12-24', not {text!r}")


def _is_time(hour: str | None, minute: str | None) -> bool:
    return int(hour or 0) < 24 and int(minute or 0) < 60


def _dated(text: str, zone: ZoneInfo) -> datetime:
    found = _DATED.fullmatch(text.strip())
    assert found
    return datetime.combine(date.fromisoformat(found[1]), time(int(found[2] or 0), int(found[3] or 0)), zone)


def _weekly(text: str, local: datetime, zone: ZoneInfo) -> datetime:
    """The moment in the week of `local`, which begins on Monday."""
    found = _WEEKLY.fullmatch(text.strip())
    assert found
    day = local.date() - timedelta(days=local.weekday()) + timedelta(days=_DAYS.index(found[1].lower()))
    return datetime.combine(day, time(int(found[2] or 0), int(found[3] or 0)), zone)
