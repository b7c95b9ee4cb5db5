"""What was predicted, joined with what really happened."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tournant.domain.predictions import Label, Segment

if TYPE_CHECKING:  # numpy takes 100 ms, which a command that has nothing to do need not pay
    import numpy.typing as npt

__all__ = ["Columns", "PredictionLog"]

Columns: TypeAlias = "Mapping[str, npt.NDArray[Any]]"  # equally long arrays by column name


class PredictionLog(Protocol):
    """Reads the recorded predictions; labels are passed in and joined by prediction id or by the user's key."""

    def outcomes(
        self,
        segments: Sequence[Segment],
        labels: Sequence[Label],
        *,
        start: float,
        end: float,
        inputs: Sequence[str] = (),
    ) -> Columns:
        """Give one entry per (prediction, revision) with event time in `[start, end)`.

        Columns: prediction_id, key, entity, event_time, revision, role, rollout, epoch, score (NaN on error), error (bool),
        latency_ms, label (NaN while unlabelled), and the named inputs (of the answered row, for shadows too).
        """
        ...

    def matched(self, segments: Sequence[Segment], labels: Sequence[Label]) -> set[str]:
        """Give the references of those labels that meet a prediction in the segments."""
        ...

    def freeze(
        self,
        base: Path | None,
        segments: Sequence[Segment],
        labels: Sequence[Label],
        target: Path,
        *,
        start: float,
        end: float,
        label_column: str,
        inputs: Sequence[str],
        log_start: float | None = None,
    ) -> int:
        """Write base rows and labelled answered rows in `[start, end)` (inputs, label, event_time, key) as one Parquet; give the rows.

        The log's rows begin at `log_start` where that is later, so that none comes twice when the base covers some.
        """
        ...

    def sample(self, parquet: Path, limit: int, *, seed: int = 0) -> Columns:
        """Give a deterministic sample of a Parquet file's rows in event-time order."""
        ...
