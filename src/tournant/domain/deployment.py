"""Deployments, revisions and the traffic split between them."""

from dataclasses import dataclass, field
from enum import StrEnum

from tournant.domain.retraining import RetrainingPolicy
from tournant.domain.rollout import RolloutStrategy

__all__ = [
    "Deployment",
    "DeploymentConfig",
    "LabelConfig",
    "LogConfig",
    "LogKey",
    "MonitorConfig",
    "Requirement",
    "Revision",
    "RevisionState",
    "TrafficSplit",
]

WEIGHT_TOTAL = 10_000  # basis points: the sticky split hashes into this many buckets


class RevisionState(StrEnum):
    """What a revision does now."""

    PENDING = "pending"  # no traffic yet
    CANDIDATE = "candidate"  # in a rollout
    STABLE = "stable"
    RETIRED = "retired"  # was stable
    REJECTED = "rejected"  # its rollout failed, was aborted or was inconclusive


class Requirement(StrEnum):
    """What a version must have to be rolled out."""

    SIGNED = "signed"
    VERIFIED = "verified"  # its record recreates it


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """How labels reach a deployment.

    A label is expected `delay_seconds` after its prediction; `maturity_seconds` after the end of a unit of evidence its
    labels are taken as complete. `column` is the label's name in datasets frozen from the prediction log.
    """

    column: str = "label"
    delay_seconds: float = 0.0
    maturity_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """What is watched, and how often a false alarm is acceptable.

    `unit` is the unit of evidence (`hour` or `day`); `window` the current window's length in units; `metric` one of
    `log_loss`, `brier`, `error_rate`, `squared_error`, `absolute_error`; `average_run_length` the expected units between false
    performance alerts; `drift_alpha` the false discovery rate over columns; `drift_psi` the effect-size floor.
    """

    unit: str = "day"
    window: int = 7
    metric: str = "log_loss"
    average_run_length: float = 365.0
    minimum_increase: float = 0.01
    drift_alpha: float = 0.05
    drift_psi: float = 0.2
    liveness_units: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What the prediction log keeps.

    `sample` is the share of predictions; input columns in `drop` are left out of it, of those in `hash` it has a keyed digest.
    """

    sample: float = 1.0
    drop: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()

    @property
    def hidden(self) -> frozenset[str]:
        """The columns whose values cannot be read in the log."""
        return frozenset((*self.drop, *self.hash))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConfig:
    """All settings of a deployment that a revision is served, judged and renewed under."""

    slo_p99_ms: float = 100.0
    entity: str = ""  # input column (or "header:X-User") whose value keeps to one side of the split; empty: random
    standby: bool = True  # keep what was stable before loaded, so that a rollback is at once
    log: LogConfig = field(default_factory=LogConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    rollout: RolloutStrategy = field(default_factory=RolloutStrategy)
    monitors: MonitorConfig = field(default_factory=MonitorConfig)
    retraining: RetrainingPolicy | None = None
    require: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A named endpoint. `stable` and `shadows` (permanent ones) are revision ids; empty until the first revision is ready."""

    name: str
    config: DeploymentConfig
    created_at: float
    stable: str = ""
    shadows: tuple[str, ...] = ()
    project: str = ""  # digest of the project's code snapshot, which retraining runs
    retired_at: float | None = None  # from then on gateways do not know it


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """The secret (hex) that the log's digests of a deployment are keyed with: nobody without it can try out values."""

    deployment: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A model version in a deployment. `id` is `deployment/number`; `model_version` is `name@number`.

    `config` is a digest of the deployment's settings it was judged under: what was rejected is known by both.
    """

    id: str
    deployment: str
    number: int
    model_version: str
    state: RevisionState
    created_at: float
    config: str = ""
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """Shares of traffic in basis points; they always sum to 10,000.

    >>> TrafficSplit(9_500, 500).canary_percent
    5.0
    """

    stable: int = WEIGHT_TOTAL
    canary: int = 0

    def __post_init__(self) -> None:
        """Refuse a split that loses or invents traffic."""
        if self.stable < 0 or self.canary < 0 or self.stable + self.canary != WEIGHT_TOTAL:
            raise ValueError(f"a traffic split sums to {WEIGHT_TOTAL}, not {self.stable} + {self.canary}")

    @classmethod
    def of_canary(cls, percent: float) -> "TrafficSplit":
        """Give `percent` of traffic to the canary, the rest to stable."""
        canary = round(percent * 100)
        return cls(WEIGHT_TOTAL - canary, canary)

    @property
    def canary_percent(self) -> float:
        """The canary's share in percent."""
        return self.canary / 100
