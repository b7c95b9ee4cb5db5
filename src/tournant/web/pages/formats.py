"""How numbers, times and names are written on pages."""

import math
from datetime import UTC, datetime

from markupsafe import Markup, escape

__all__ = [
    "FILTERS",
    "actor_text",
    "bytes_text",
    "count",
    "duration",
    "headline",
    "label",
    "number",
    "percent",
    "plural",
    "psi_text",
    "rate",
    "sentence",
    "short_id",
    "signed",
    "stamp",
    "value_of",
    "value_text",
    "when",
]

NONE = "–"
DAY = 86_400.0


def number(value: float | None) -> str:
    """Write three significant figures with a true minus; nothing known is an en dash.

    >>> number(-0.71234), number(1840.4), number(None), number(0.04)
    ('−0.712', '1,840', '–', '0.04')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value and abs(value) < 1e-4:
        return f"{value:.2e}".replace("-", "−")
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def count(value: float | None) -> str:
    """Write a whole number.

    >>> count(31806)
    '31,806'
    """
    return NONE if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Write a share as a percentage.

    >>> percent(0.8841), percent(0.0011)
    ('88.4 %', '0.11 %')
    """
    if share is None or not math.isfinite(share):
        return NONE
    return f"{number(100 * share)} %"


def signed(value: float | None, unit: str = "") -> str:
    """Write a difference; of shares in percentage points.

    >>> signed(0.0002, "share"), signed(-0.046), signed(8.0, "ms")
    ('+0.02 pp', '−0.046', '+8 ms')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if unit == "share":
        return f"{_sign(100 * value)} pp"
    return _sign(value) + (" ms" if unit == "ms" else "")


def _sign(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def value_of(value: float | None, unit: str = "") -> str:
    """Write a value in its unit: shares as percentages, losses and scores with three decimals.

    >>> value_of(0.0013, "share"), value_of(63.0, "ms"), value_of(0.49, "loss")
    ('0.13 %', '63 ms', '0.490')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if unit == "share":
        return percent(value)
    if unit in ("loss", "score") and abs(value) < 100:
        return f"{value:.3f}".replace("-", "−")
    return number(value) + (" ms" if unit == "ms" else "")


def rate(per_second: float | None) -> str:
    """Write a rate in the largest unit that keeps it at one or more.

    >>> rate(88.4), rate(0.02), rate(0.002), rate(None)
    ('88.4 /s', '1.2 /min', '7.2 /h', '–')
    """
    if per_second is None:
        return NONE
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * seconds >= 1:
            return f"{number(per_second * seconds)} /{unit}"
    return f"{number(per_second * DAY)} /d"


def duration(seconds: float | None) -> str:
    """Write a length of time in its two largest units.

    >>> duration(30_660), duration(3.84), duration(18 * 60 + 12), duration(9 * 86400)
    ('8 h 31 m', '3.8 s', '18 m 12 s', '9 d')
    """
    if seconds is None:
        return NONE
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
    for i, (name, size) in enumerate(units):
        if seconds >= size:
            first, rest = divmod(round(seconds), size)
            second = rest // units[i + 1][1] if i + 1 < len(units) and not (name == "d" and first > 2) else 0
            return f"{first} {name}" + (f" {second} {units[i + 1][0]}" if second else "")
    return f"{seconds:.0f} s"


def stamp(time: float | None, now: float | None = None) -> str:
    """Write a moment in UTC; the year only when it is not this one.

    >>> stamp(1384329660.0), stamp(1384329660.0, 1384400000.0)
    ('13 Nov 2013 08:01', '13 Nov 08:01')
    """
    if time is None:
        return NONE
    moment = datetime.fromtimestamp(time, UTC)
    same_year = now is not None and datetime.fromtimestamp(now, UTC).year == moment.year
    return f"{moment.day} {moment:%b %H:%M}" if same_year else f"{moment.day} {moment:%b %Y %H:%M}"


def when(time: float | None, now: float, suffix: str = "") -> Markup:
    """Give a `<time>` element: relative under 24 hours, then the date; the full ISO time in its attributes."""
    if time is None or time <= 0:
        return Markup(NONE)  # noqa: S704 - a constant
    iso = f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}"
    age = now - time
    text = f"{duration(age)} ago" if 60 <= age < DAY else "just now" if 0 <= age < 60 else stamp(time, now)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(iso, escape(text + suffix))


def short_id(value: str) -> str:
    """Cut an id or digest to 7 characters; of ids that begin with their time the last 7, which differ."""
    if len(value) == 32:
        return value[-7:]
    return value[:7] if len(value) == 64 else value


def bytes_text(size: float) -> str:
    """Write a size.

    >>> bytes_text(1_234_567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{number(size)} {unit}"
        size /= 1000
    return f"{number(size)} TB"


def label(name: str) -> str:
    """Write a programmer's name for people.

    >>> label("estimated_performance")
    'estimated performance'
    """
    return name.replace("_", " ")


def psi_text(value: float | None) -> str:
    """Write a population stability index with two decimals.

    >>> psi_text(0.000443), psi_text(0.209)
    ('0.00', '0.21')
    """
    return NONE if value is None else f"{value:.2f}"


def sentence(text: str) -> str:
    """Begin a text with a capital and end it with a full stop.

    >>> sentence("log loss is high")
    'Log loss is high.'
    """
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def plural(n: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "file"), plural(1200, "row")
    ('1 file', '1,200 rows')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def actor_text(name: str) -> str:
    """Say who did something: a person, or the house itself.

    >>> actor_text("ada"), actor_text("rollout controller"), actor_text("system")
    ('by ada', 'automatic', 'automatic')
    """
    own = name in ("", "system", "retraining") or name.endswith("controller")
    return "automatic" if own else f"by {name}"


def headline(name: str) -> str:
    """Write a programmer's name at the start of a line.

    >>> headline("log_loss")
    'Log loss'
    """
    text = label(name)
    return text[:1].upper() + text[1:]


def value_text(value: float | None) -> str:
    """Write a value that may also be no number or infinite.

    >>> value_text(0.71234), value_text(float("nan")), value_text(float("-inf")), value_text(None)
    ('0.712', 'NaN', '−∞', '–')
    """
    if value is None or math.isfinite(value):
        return number(value)
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"


FILTERS = {
    "actor": actor_text,
    "bytes": bytes_text,
    "count": count,
    "duration": duration,
    "headline": headline,
    "label": label,
    "number": number,
    "percent": percent,
    "plural": plural,
    "psi": psi_text,
    "rate": rate,
    "short": short_id,
    "signed": signed,
    "stamp": stamp,
    "value": value_of,
    "value_text": value_text,
    "when": when,
}
