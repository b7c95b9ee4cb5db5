"""Profiles: mergeable summaries of inputs, scores and losses, never the raw data."""

from dataclasses import dataclass, field

__all__ = ["ColumnProfile", "ReferenceProfile", "WindowProfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """Counts of one column: numbers by bin (`edges` has one fewer entry than `counts`), strings by category."""

    type: str
    rows: int = 0
    missing: int = 0
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    categories: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowProfile:
    """One unit of evidence (an hour, a day) of one revision in a deployment; mergeable by addition.

    `id` is `deployment/revision/unit_start`. `score_bins` and `positive_bins` count predictions and positive labels
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
