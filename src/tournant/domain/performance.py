"""Losses and ranking quality of predictions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tournant.errors import Invalid

__all__ = ["METRICS", "auroc", "auroc_of_bins", "log_losses", "losses"]

Floats = npt.NDArray[np.float64]
METRICS = ("log_loss", "brier", "error_rate", "squared_error", "absolute_error")
_CLIP = 1e-7  # a probability of exactly 0 or 1 costs a finite 16.1


def losses(metric: str, scores: Floats, labels: Floats) -> Floats:
    """Give each prediction's loss; NaN where score or label is missing.

    `log_loss`, `brier` and `error_rate` (wrong side of 0.5: 0 or 1) take probabilities and labels 0 or 1; the errors take any
    numbers.

    >>> losses("log_loss", np.array([0.5, 0.2]), np.array([1.0, 0.0])).round(3).tolist()
    [0.693, 0.223]
    >>> losses("brier", np.array([0.5]), np.array([1.0])).tolist()
    [0.25]
    """
    if metric == "log_loss":
        return log_losses(labels, scores)
    if metric == "error_rate":
        wrong = ((scores >= 0.5) != (labels > 0.5)).astype(np.float64)
        return np.where(np.isnan(scores) | np.isnan(labels), np.nan, wrong)
    if metric in ("brier", "squared_error"):
        return np.square(scores - labels)
    if metric == "absolute_error":
        return np.abs(scores - labels)
    raise Invalid(f"no metric {metric!r} (there are: {', '.join(METRICS)})", place="metric")


def log_losses(labels: Floats, scores: Floats) -> Floats:
    """Give each row's log loss: `-ln` of the probability given to what happened (natural logarithm)."""
    p = np.clip(scores, _CLIP, 1 - _CLIP)
    result: Floats = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    return result


def auroc(labels: Floats, scores: Floats) -> float:
    """Give the area under the ROC curve, ties counting half; NaN unless both labels occur.

    The Mann-Whitney statistic over its number of pairs.

    >>> auroc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    known = ~(np.isnan(scores) | np.isnan(labels))
    positive = scores[known & (labels > 0.5)]
    negative = np.sort(scores[known & (labels <= 0.5)])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, side="left") + np.searchsorted(negative, positive, side="right")
    return float(below.sum() / 2 / (len(positive) * len(negative)))


def auroc_of_bins(labelled: Sequence[int], positive: Sequence[int]) -> float:
    """Give the AUROC from labelled and positive predictions by score bin; pairs in one bin count half.

    >>> auroc_of_bins([2, 2], [0, 1])
    0.8333333333333334
    """
    hits = np.asarray(positive, dtype=float)
    misses = np.asarray(labelled, dtype=float) - hits
    pairs = hits.sum() * misses.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2)).sum() / pairs)
