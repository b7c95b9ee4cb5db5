"""Two models on the same requests, month by month: who was better, by how much, and how sure that is."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from tournant.domain.gate import paired_block_bootstrap
from tournant.domain.performance import auroc, log_losses

__all__ = ["Answers", "PeriodComparison", "compare_by_month"]

Floats = npt.NDArray[np.float64]
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Equally long arrays, one entry a request.

    What was answered, what the frozen model would have answered, the label (NaN while unlabelled), and the version that
    answered.
    """

    event_time: Floats
    live: Floats
    frozen: Floats
    label: Floats
    version: npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodComparison:
    """One period's figures.

    `difference` is live minus frozen mean log loss (below 0: live is better), with a 95 % interval from resampling whole
    days.
    """

    period: str
    versions: tuple[str, ...]
    requests: int
    labelled: int
    positive_share: float
    live_auroc: float
    frozen_auroc: float
    live_log_loss: float
    frozen_log_loss: float
    difference: float
    lower: float
    upper: float

    @property
    def coverage(self) -> float:
        """The share of requests that got a label."""
        return self.labelled / self.requests if self.requests else 0.0


def compare_by_month(
    answers: Answers, *, utc_offset_seconds: float = 0.0
) -> tuple[list[PeriodComparison], PeriodComparison]:
    """Compare for each calendar month (of a place that far from UTC), and over all of it."""
    local = (datetime.fromtimestamp(t + utc_offset_seconds, UTC) for t in answers.event_time)
    months = np.array([moment.strftime("%Y-%m") for moment in local], dtype=object)
    by_month = [_compare(answers, months == month, str(month)) for month in sorted(set(months))]
    return by_month, _compare(answers, np.ones(len(months), dtype=bool), "all")


def _compare(answers: Answers, inside: npt.NDArray[np.bool_], period: str) -> PeriodComparison:
    judged = inside & np.isfinite(answers.label) & np.isfinite(answers.live) & np.isfinite(answers.frozen)
    label, live, frozen = answers.label[judged], answers.live[judged], answers.frozen[judged]
    live_loss, frozen_loss = log_losses(label, live), log_losses(label, frozen)
    days = (answers.event_time[judged] // DAY_SECONDS).astype(np.int64)
    difference, lower, upper = paired_block_bootstrap(live_loss - frozen_loss, days, alpha=0.05)
    return PeriodComparison(
        period=period,
        versions=tuple(dict.fromkeys(answers.version[inside].tolist())),
        requests=int(inside.sum()),
        labelled=int(judged.sum()),
        positive_share=float(label.mean()),
        live_auroc=auroc(label, live),
        frozen_auroc=auroc(label, frozen),
        live_log_loss=float(live_loss.mean()),
        frozen_log_loss=float(frozen_loss.mean()),
        difference=difference,
        lower=lower,
        upper=upper,
    )
