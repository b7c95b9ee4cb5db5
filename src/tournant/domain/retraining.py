"""Retrainings: the policy that starts them, and the state of one."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["GateResult", "Retraining", "RetrainingPolicy", "RetrainingState"]


class RetrainingState(StrEnum):
    """Where a retraining is. Each step is idempotent; a kill between two of them resumes at the later one."""

    PENDING = "pending"
    FREEZING = "freezing"
    TRAINING = "training"
    GATING = "gating"
    AWAITING_APPROVAL = "awaiting_approval"
    ROLLING_OUT = "rolling_out"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the retraining."""
        return self in (RetrainingState.PROMOTED, RetrainingState.REJECTED, RetrainingState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingPolicy:
    """When to retrain, on what, and what a challenger must show.

    `triggers` are alert kinds (`performance`, `drift`, …); `schedule_seconds` and `new_rows` are triggers of their own
    when above 0. `window` is `expanding` or `sliding` (the last `window_seconds`). The gate holds back the last
    `gate_units` units of evidence and asks that the challenger's paired loss difference be below `gate_margin`:
    `superior` wants the interval's upper end below 0, `non_inferior` below the margin, `better_mean` the mean below 0.
    """

    dataset: str
    triggers: tuple[str, ...] = ("performance",)
    schedule_seconds: float = 0.0
    new_rows: int = 0
    cooldown_seconds: float = 14 * 86_400.0
    budget: int = 0  # retrainings at most in budget_seconds; 0: no bound
    budget_seconds: float = 365 * 86_400.0
    approval: str = "auto"  # or "manual"
    window: str = "expanding"
    window_seconds: float = 0.0
    gate_units: int = 14
    gate_rule: str = "superior"
    gate_margin: float = 0.0
    gate_alpha: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """Champion against challenger on the same later rows: `difference` is challenger minus champion mean loss."""

    passed: bool
    reason: str
    metric: str = ""
    champion: float | None = None
    challenger: float | None = None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    units: int = 0
    rows: int = 0
    tests: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One renewal of a deployment's model, from trigger to promotion or rejection."""

    id: str
    deployment: str
    model: str
    state: RetrainingState
    trigger: str
    reason: str
    started_at: float
    ended_at: float | None = None
    alert: str = ""
    dataset_version: str = ""
    gate_dataset_version: str = ""
    job: str = ""
    run: str = ""
    challenger: str = ""
    gate: GateResult | None = None
    rollout: str = ""
    approved_by: str = ""
    attempts: int = 0
