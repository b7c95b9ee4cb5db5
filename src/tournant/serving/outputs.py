"""Checks that what a model gave are predictions: as many as rows, finite, and one a class where it should be."""

import math
from collections.abc import Sequence
from typing import Any

from tournant.domain.registry import Output
from tournant.serving.failures import ModelFailed

__all__ = ["Score", "check_scores", "headline"]

Score = float | list[float]  # a list only for the output kind `probabilities`


def check_scores(scores: Sequence[Any], rows: int, output: Output) -> Sequence[Score]:
    """Give `scores` back if they are `rows` predictions of `output`'s kind; ModelFailed says which is not."""
    if len(scores) != rows:
        raise ModelFailed(f"the model gave {len(scores)} predictions for {rows} rows")
    if output.kind == "probabilities":
        for index, score in enumerate(scores):
            _check_vector(score, index, len(output.classes))
        return scores
    for index, score in enumerate(scores):
        if type(score) is not float or not math.isfinite(score):
            raise ModelFailed(f"the prediction of row {index} is {str(score)[:40]}, not a finite number")
    return scores


def headline(score: Score) -> float:
    """Give the one number that counters and the log's `score` column keep: of several classes, the last one's."""
    return score[-1] if type(score) is list else score  # type: ignore[return-value] # the other arm is a float


def _check_vector(score: Any, index: int, classes: int) -> None:
    if type(score) is not list or (classes and len(score) != classes):
        raise ModelFailed(
            f"the prediction of row {index} is {str(score)[:40]}, not one probability a class ({classes})"
        )
    if not all(type(value) is float and math.isfinite(value) for value in score):
        raise ModelFailed(f"the prediction of row {index} has a value that is not a finite number: {str(score)[:80]}")
