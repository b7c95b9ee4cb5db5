"""The gate of a retraining: champion against challenger on the same later rows."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tournant.domain.gate import Estimate, paired_block_bootstrap
from tournant.domain.registry import Conversion, ConversionStatus
from tournant.domain.retraining import GateResult, RetrainingPolicy

__all__ = ["find_refusal", "judge_challenger"]

Floats = npt.NDArray[np.float64]
FEWEST_UNITS = 2  # one unit has no spread to resample
_CONVERTED = (ConversionStatus.SUCCESSFUL, ConversionStatus.NATIVE)
_ASKED = {
    "superior": "the whole interval below 0",
    "non_inferior": "the whole interval below the margin {margin:g}",
    "better_mean": "a mean below 0",
}


def find_refusal(
    tests: Mapping[str, bool], *, champion: Conversion, challenger: Conversion, present: int, wanted: int
) -> str:
    """Give why a challenger is refused before its losses are looked at, or "".

    `tests` are the project's, by name; parity is asked for where the champion has it, as a model that falls back to its
    own environment may be a thousand times slower; `present` of the `wanted` units of evidence have labelled rows.
    """
    failed = sorted(name for name, passed in tests.items() if not passed)
    if failed:
        return f"tests failed: {', '.join(failed)}"
    if champion.status in _CONVERTED and challenger.status not in _CONVERTED:
        return f"the champion is converted, the challenger is not: {challenger.summary}"
    if present < max(FEWEST_UNITS, (wanted + 1) // 2):
        return f"only {present} of {wanted} units of evidence have labelled rows"
    return ""


def judge_challenger(
    policy: RetrainingPolicy,
    champion: Floats,
    challenger: Floats,
    units: npt.NDArray[np.int64],
    *,
    metric: str,
) -> GateResult:
    """Judge a challenger by its losses and the champion's on the same rows; `units` numbers each row's unit of evidence.

    A row that the challenger cannot answer fails it. Whole units are resampled, because rows of one unit are not independent: `superior` wants the upper end of the
    `1 - gate_alpha` interval of the mean difference below 0, `non_inferior` below `gate_margin`, `better_mean` only
    the mean below 0.

    >>> policy = RetrainingPolicy(dataset="flights", gate_rule="better_mean")
    >>> losses, units = np.tile([0.5, 0.6], 10), np.repeat(np.arange(5), 4)
    >>> judge_challenger(policy, losses, losses - 0.1, units, metric="log_loss").passed
    True
    """
    unanswered = int((np.isnan(challenger) & ~np.isnan(champion)).sum())
    known = ~(np.isnan(champion) | np.isnan(challenger))
    estimate = paired_block_bootstrap(challenger - champion, units, alpha=policy.gate_alpha)
    asked = _ASKED[policy.gate_rule].format(margin=policy.gate_margin)
    interval = f"{estimate.mean:+.4f} [{estimate.lower:+.4f}, {estimate.upper:+.4f}]"
    reason = f"{metric.replace('_', ' ')} against the champion {interval}; {policy.gate_rule} asks for {asked}"
    if unanswered:
        reason = f"the challenger gives no prediction for {unanswered} of {len(units)} rows that the champion answers"
    return GateResult(
        passed=not unanswered and _passes(policy, estimate),
        reason=reason,
        metric=metric,
        champion=float(champion[known].mean()) if known.any() else None,
        challenger=float(challenger[known].mean()) if known.any() else None,
        difference=estimate.mean,
        lower=estimate.lower,
        upper=estimate.upper,
        units=len(np.unique(units[known])),
        rows=int(known.sum()),
    )


def _passes(policy: RetrainingPolicy, estimate: Estimate) -> bool:
    return {
        "superior": estimate.upper < 0,
        "non_inferior": estimate.upper < policy.gate_margin,
        "better_mean": estimate.mean < 0,
    }[policy.gate_rule]
