"""Tables that lay things side by side: one column each, the first the base, and what differs from it marked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tournant.domain.environment import Environment, packages
from tournant.web.pages.formats import signed, value_text

__all__ = ["Cell", "Heading", "Row", "Table", "environment_table", "improved", "metric_table", "text_table"]

LOWER_IS_BETTER = ("loss", "error", "brier", "mae", "mse", "rmse", "latency", "_ms", "seconds", "perplexity")
HIGHER_IS_BETTER = ("auc", "auroc", "accuracy", "f1", "recall", "precision", "r2", "ndcg")
LONGEST_TEXT = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value. `note` is its difference from the base's, `better` whether that is good, where it is known."""

    text: str
    differs: bool = False
    note: str = ""
    better: bool | None = None
    full: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands over a column; `line` is the number of its curve in charts."""

    name: str
    href: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One name and its value in each column."""

    name: str
    cells: tuple[Cell, ...]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that differ, and those that do not; `numbers` are written to the right."""

    title: str
    differing: tuple[Row, ...]
    same: tuple[Row, ...]
    numbers: bool = False


def improved(name: str, value: float, base: float) -> bool | None:
    """Tell by a metric's name whether a value is better than another; None where the name does not say.

    >>> improved("val_loss", 0.3, 0.4), improved("auc", 0.7, 0.8), improved("rows", 3, 2), improved("auc", 0.7, 0.7)
    (True, False, None, None)
    """
    lower = any(part in name.lower() for part in LOWER_IS_BETTER)
    higher = any(part in name.lower() for part in HIGHER_IS_BETTER)
    if value == base or lower == higher or math.isnan(value) or math.isnan(base):
        return None
    return (value < base) == lower


def text_table(title: str, each: Sequence[Mapping[str, str]]) -> Table:
    """Lay texts side by side; a name that one does not have is a difference too."""
    names = sorted(dict.fromkeys(name for texts in each for name in texts))
    return _table(title, [_text_row(name, [texts.get(name) for texts in each]) for name in names])


def _text_row(name: str, values: Sequence[str | None]) -> Row:
    cells = tuple(_text_cell(value, differs=value != values[0]) for value in values)
    return Row(name=name, cells=cells, differs=any(cell.differs for cell in cells))


def _text_cell(value: str | None, *, differs: bool) -> Cell:
    if value is None:
        return Cell(text="–", differs=differs)
    line = " ".join(value.split())
    cut = line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
    return Cell(text=cut or "“”", differs=differs, full=value[:2000] if cut != value else "")


def metric_table(title: str, each: Sequence[Mapping[str, float]]) -> Table:
    """Lay numbers side by side, each with its difference from the first."""
    names = sorted(dict.fromkeys(name for values in each for name in values))
    rows = []
    for name in names:
        base = each[0].get(name)
        cells = tuple(_number_cell(name, values.get(name), base) for values in each)
        rows.append(Row(name=name, cells=cells, differs=any(cell.differs for cell in cells)))
    return _table(title, rows, numbers=True)


def _number_cell(name: str, value: float | None, base: float | None) -> Cell:
    if value is None:
        return Cell(text="–", differs=base is not None)
    same = value == base or (base is not None and math.isnan(value) and math.isnan(base))
    both = base is not None and not same and math.isfinite(value) and math.isfinite(base)
    return Cell(
        text=value_text(value),
        differs=not same,
        note=signed(value - base) if both and base is not None else "",
        better=improved(name, value, base) if both and base is not None else None,
        full=repr(value),
    )


def environment_table(environments: Sequence[Environment | None]) -> Table:
    """Lay the packages of environments side by side, and their Python."""
    each = []
    for environment in environments:
        python = {"Python": environment.python} if environment and environment.python else {}
        each.append({**python, **packages(environment.lock)} if environment else {})
    return text_table("Environment", each)


def _table(title: str, rows: Sequence[Row], *, numbers: bool = False) -> Table:
    return Table(
        title=title,
        differing=tuple(row for row in rows if row.differs),
        same=tuple(row for row in rows if not row.differs),
        numbers=numbers,
    )
