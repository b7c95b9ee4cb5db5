"""Verifying a model version: what was compared, the verdict, and the cause of a difference."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "Agreement",
    "Cause",
    "Comparison",
    "Difference",
    "Verdict",
    "Verification",
    "compare_metrics",
    "compare_predictions",
    "is_duration",
    "judge",
]

Predictions: TypeAlias = "npt.NDArray[Any]"
_DURATIONS = ("seconds", "duration", "elapsed", "time", "ms", "minutes", "latency")


class Verdict(StrEnum):
    """Whether a model version can be recreated from its record."""

    IDENTICAL = "identical"  # every prediction and metric is the same to the last bit
    EQUIVALENT = "equivalent"  # none differs by more than the tolerance
    DIFFERENT = "different"


class Agreement(IntEnum):
    """How well two models agree, to be compared: less is better."""

    IDENTICAL = 0
    EQUIVALENT = 1
    DIFFERENT = 2

    @property
    def verdict(self) -> Verdict:
        """The verdict of this agreement."""
        return Verdict(self.name.lower())


class Cause(StrEnum):
    """What makes a recreated model differ from the recorded one."""

    CODE = "code"
    DATA = "data"
    PARAMS = "params"
    ENVIRONMENT = "environment"
    THREADS = "threads"
    KERNEL = "CPU kernel"
    SEED = "seed"  # two runs of the same record differ between themselves
    UNRECORDED = "not on record"  # what the model depends on stands nowhere in its record
    FAILURE = "failure"  # a step does not run at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that was not as recorded: `name` of a file, param, package, variable or step; empty values: it was not there."""

    cause: Cause
    name: str
    recorded: str = ""
    found: str = ""

    @property
    def summary(self) -> str:
        """The difference in words.

        >>> Difference(cause=Cause.PARAMS, name="C", recorded="1.0", found="2.0").summary
        'C 1.0 → 2.0'
        """
        if self.recorded or self.found:
            return f"{self.name} {self.recorded or 'none'} → {self.found or 'none'}"
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A recorded model and a recreated one on the same rows.

    `max_difference` is the largest difference of a prediction (with `relative` in units of the predictions' root mean
    square), None where one has a prediction that the other has not; `metrics` are those that differ by more than nothing.
    """

    agreement: Agreement
    max_difference: float | None
    relative: bool
    rows: int
    metrics: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The record of one verification of a model version.

    `causes` made the difference; `changed` was not as recorded either, but made none. `probe` is the digest of the rows
    that were predicted, `outs` path to the recorded and the recreated digest, `runs` the runs that were made for it,
    `statement` the digest of the signed in-toto statement.
    """

    id: str
    model_version: str
    verdict: Verdict
    causes: tuple[Difference, ...] = ()
    changed: tuple[Difference, ...] = ()
    confirmed: bool = False
    max_difference: float | None = None
    relative: bool = False
    tolerance: float = 0.0
    rows: int = 0
    probe: str = ""
    metrics: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    outs: dict[str, tuple[str, str]] = field(default_factory=dict)
    from_record: bool = True
    runs: tuple[str, ...] = ()
    started_at: float = 0.0
    ended_at: float = 0.0
    actor: str = ""
    statement: str = ""

    @property
    def proves(self) -> bool:
        """Whether it shows that the version's own record recreates it."""
        return self.from_record and self.verdict is not Verdict.DIFFERENT

    @property
    def summary(self) -> str:
        """The verdict, its cause and its size in one line.

        >>> cause = Difference(cause=Cause.PARAMS, name="C", recorded="1", found="2")
        >>> Verification(
        ...     id="", model_version="m@1", verdict=Verdict.DIFFERENT, causes=(cause,), max_difference=0.25
        ... ).summary
        'different because of params: C 1 → 2 (largest difference 0.25)'
        """
        because = f" because of {_group(self.causes)}" if self.causes else ""
        size = f"largest difference {self.max_difference:.2g}" if self.max_difference else ""
        within = f"tolerance {self.tolerance:g}" if self.verdict is Verdict.EQUIVALENT else ""
        notes = ", ".join(filter(None, (size, within)))
        return f"{self.verdict.value}{because}" + (f" ({notes})" if notes else "")


def compare_predictions(recorded: Predictions, recreated: Predictions, *, relative: bool) -> float:
    """Give the largest difference of a prediction: 0.0 only if all are the same to the last bit, infinite where one lacks one.

    >>> import numpy as np
    >>> compare_predictions(np.array([[1.0], [np.nan]]), np.array([[1.5], [np.nan]]), relative=False)
    0.5
    """
    if recorded.shape != recreated.shape:
        return math.inf
    import numpy as np  # reading the records needs none of it

    apart = np.abs(recorded - recreated)
    apart[np.isnan(recorded) & np.isnan(recreated)] = 0.0
    apart[recorded == recreated] = 0.0  # two infinities of one sign
    apart[np.isnan(apart)] = math.inf
    largest = float(apart.max()) if apart.size else 0.0
    finite = recorded[np.isfinite(recorded)]
    size = float(np.sqrt(np.mean(finite**2))) if relative and finite.size else 1.0
    return largest / size if size > 0 else largest


def compare_metrics(
    recorded: Mapping[str, float], recreated: Mapping[str, float]
) -> dict[str, tuple[float | None, float | None]]:
    """Give the metrics that differ at all; how long something took is left out.

    >>> compare_metrics({"auroc": 0.7, "fit_seconds": 2.0}, {"auroc": 0.8, "fit_seconds": 3.0})
    {'auroc': (0.7, 0.8)}
    """
    names = dict.fromkeys([*recorded, *recreated])
    pairs = {name: (recorded.get(name), recreated.get(name)) for name in names if not is_duration(name)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def is_duration(metric: str) -> bool:
    """Tell whether a metric is a duration, which no two runs share.

    >>> is_duration("train.fit_seconds"), is_duration("rmse")
    (True, False)
    """
    words = metric.lower().replace(".", "_").replace("-", "_").replace("/", "_").split("_")
    return any(word in _DURATIONS for word in words)


def judge(
    max_difference: float, metrics: Mapping[str, tuple[float | None, float | None]], *, tolerance: float
) -> Agreement:
    """Decide how well two models agree; metrics may differ by the tolerance times their size (at least 1).

    >>> judge(0.0, {}, tolerance=1e-6), judge(1e-9, {}, tolerance=1e-6), judge(0.0, {"f1": (0.5, 0.6)}, tolerance=1e-6)
    (<Agreement.IDENTICAL: 0>, <Agreement.EQUIVALENT: 1>, <Agreement.DIFFERENT: 2>)
    """
    if max_difference == 0.0 and not metrics:
        return Agreement.IDENTICAL
    near = all(
        a is not None and b is not None and abs(a - b) <= tolerance * max(1.0, abs(a)) for a, b in metrics.values()
    )
    return Agreement.EQUIVALENT if max_difference <= tolerance and near else Agreement.DIFFERENT


def _group(differences: Sequence[Difference]) -> str:
    kinds = dict.fromkeys(difference.cause for difference in differences)
    return "; ".join(f"{kind.value}: {_some(d for d in differences if d.cause is kind)}" for kind in kinds)


def _some(differences: Iterable[Difference], most: int = 3) -> str:
    texts = [difference.summary for difference in differences]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
