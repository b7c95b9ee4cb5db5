"""Retrainings: the policy that starts them, and the state of one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tournant.domain.alerts import Alert

__all__ = [
    "EvidenceWindow",
    "GateResult",
    "Retraining",
    "RetrainingPolicy",
    "RetrainingState",
    "Trigger",
    "decide_trigger",
    "plan_window",
]

DAY_SECONDS = 86_400.0


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
    champion_version: str = ""
    challenger_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One renewal of a deployment's model, from trigger to promotion or rejection.

    `reason` says why it began, `outcome` why it ended as it did. Time is split for it once, at `started_at`.
    """

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
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Why a retraining is due; `kind` is an alert's kind, `schedule` or `new_rows`, `alert` the alert's id."""

    kind: str
    reason: str
    alert: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceWindow:
    """Which rows a challenger learns from, `[start, cut)`, and which it is then judged on, `[cut, end)`."""

    start: float
    cut: float
    end: float


def plan_window(
    policy: RetrainingPolicy, *, now: float, unit_seconds: float, maturity_seconds: float
) -> EvidenceWindow:
    """Split time for a retraining: the last `gate_units` whole, mature units judge, and what lies before them teaches.

    `end` is at most `now - maturity_seconds`, so the judging rows' labels are complete.

    >>> policy = RetrainingPolicy(dataset="flights", gate_units=2)
    >>> plan_window(policy, now=10.5 * 86400, unit_seconds=86400, maturity_seconds=86400)
    EvidenceWindow(start=-inf, cut=604800.0, end=777600.0)
    """
    end = (now - maturity_seconds) // unit_seconds * unit_seconds
    cut = end - policy.gate_units * unit_seconds
    start = cut - policy.window_seconds if policy.window == "sliding" else float("-inf")
    return EvidenceWindow(start=start, cut=cut, end=end)


def decide_trigger(
    policy: RetrainingPolicy,
    *,
    now: float,
    stable_since: float,
    open_alerts: Sequence[Alert],
    last_retraining: Retraining | None,
    labelled_rows_since: int,
    recent_retrainings: int,
) -> Trigger | None:
    """Decide whether a retraining is due now, and why.

    `open_alerts` are the deployment's; `last_retraining` the model's newest, whatever became of it;
    `labelled_rows_since` counts labels received since it began (or since `stable_since`); `recent_retrainings` those
    begun in the last `budget_seconds`. An alert asks once, and again after every cool-down while it stays open.
    """
    if last_retraining and not last_retraining.state.final:
        return None
    if last_retraining and now < (last_retraining.ended_at or now) + policy.cooldown_seconds:
        return None
    if policy.budget and recent_retrainings >= policy.budget:
        return None
    return (
        _alert_trigger(policy, open_alerts, last_retraining)
        or _schedule_trigger(policy, now, stable_since, last_retraining)
        or _rows_trigger(policy, labelled_rows_since)
    )


def _alert_trigger(policy: RetrainingPolicy, alerts: Sequence[Alert], last: Retraining | None) -> Trigger | None:
    wanted = [alert for alert in alerts if alert.kind.value in policy.triggers]
    if not wanted:
        return None
    alert = min(wanted, key=lambda alert: (policy.triggers.index(alert.kind.value), alert.opened_at, alert.id))
    kind = alert.kind.value.replace("_", " ")
    if last and alert.opened_at <= (last.ended_at or last.started_at):
        reason = f"the {kind} alert is still open after the last retraining, which was {last.state.value}"
    else:
        reason = f"a {kind} alert opened"
    return Trigger(kind=alert.kind.value, reason=f"{reason}: {alert.summary}".rstrip(": "), alert=alert.id)


def _schedule_trigger(
    policy: RetrainingPolicy, now: float, stable_since: float, last: Retraining | None
) -> Trigger | None:
    since = max(stable_since, last.started_at) if last else stable_since
    if policy.schedule_seconds <= 0 or now < since + policy.schedule_seconds:
        return None
    what = "the last retraining began" if last and last.started_at >= stable_since else "the stable revision was made"
    age, wanted = ((seconds / DAY_SECONDS) for seconds in (now - since, policy.schedule_seconds))
    return Trigger(kind="schedule", reason=f"{age:.1f} days since {what}; the schedule is every {wanted:g} days")


def _rows_trigger(policy: RetrainingPolicy, rows: int) -> Trigger | None:
    if policy.new_rows <= 0 or rows < policy.new_rows:
        return None
    return Trigger(kind="new_rows", reason=f"{rows:,} new labelled rows; the policy asks for {policy.new_rows:,}")
