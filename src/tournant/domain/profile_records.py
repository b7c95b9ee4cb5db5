"""The stored records of profiles, apart from how they are made: reading a record needs no numpy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["OTHER", "ColumnProfile", "ReferenceProfile", "WindowProfile"]

OTHER = "(other)"  # the categories too rare to have a cell of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """Counts of one column: numbers by bin (`edges` has one fewer entry than `counts`), strings by category."""

    type: str
    rows: int = 0
    missing: int = 0
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    categories: dict[str, int] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Name the column's cells in order: missing, then bins or categories (in alphabetical order)."""
        if self.type == "string":
            return ["missing", *sorted({*self.categories, OTHER})]
        if not self.edges:
            return ["missing", "any"]
        inner = (f"{low:.4g} to {high:.4g}" for low, high in pairwise(self.edges))
        return ["missing", f"below {self.edges[0]:.4g}", *inner, f"{self.edges[-1]:.4g} or more"]

    def counts_of(self, cells: Sequence[str]) -> list[int]:
        """Give the counts of cells named by a profile of the same edges; categories it does not name are `OTHER`."""
        if self.type != "string":
            return [self.missing, *self.counts]
        named = [self.categories.get(cell, 0) for cell in cells[1:]]
        named[cells.index(OTHER) - 1] += sum(self.categories.values()) - sum(named)
        return [self.missing, *named]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowProfile:
    """One unit of evidence (an hour, a day) of one revision in a deployment; mergeable by addition.

    `id` is `revision/unit_start` (a revision id begins with its deployment). It counts all the revision gave, as stable,
    canary or shadow; `columns` are in the bins of its model version's reference. `score_bins` and `positive_bins` count predictions and positive labels
    in 100 equal bins of the score, from which AUROC, calibration and estimated performance follow.
    """

    id: str
    deployment: str
    revision: str
    model_version: str
    unit_start: float
    unit_end: float
    rows: int = 0
    errors: int = 0
    labelled: int = 0
    label_sum: float = 0.0
    score_sum: float = 0.0
    loss_sum: float = 0.0
    brier_sum: float = 0.0
    score_bins: tuple[int, ...] = ()
    labelled_bins: tuple[int, ...] = ()
    positive_bins: tuple[int, ...] = ()
    columns: dict[str, ColumnProfile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProfile:
    """What a model version was made on: one column profile a unit, so that blocks of units can be resampled.

    `unit_losses` are the mean losses a unit on rows the model did not learn from.
    """

    model_version: str
    unit: str
    created_at: float
    rows: int = 0
    units: tuple[dict[str, ColumnProfile], ...] = ()
    unit_losses: tuple[float, ...] = ()
    loss: float | None = None
