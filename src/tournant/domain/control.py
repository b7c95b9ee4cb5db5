"""What the control plane keeps about itself: events, leases, the replay clock and its gateways."""

from dataclasses import dataclass, field

__all__ = ["ClockState", "Event", "GatewayState", "Lease", "RevisionStatus", "RoutesVersion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One state change: who did what to which subject, when and why. The audit log and the outbox.

    `kind` is `noun.verb_past` (`rollout.promoted`); `subject` is `noun/name` (`deployment/flights`); `time` is business time.
    """

    id: str
    time: float
    recorded_at: float
    kind: str
    subject: str
    actor: str
    summary: str
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who leads (`name` is the controller's); real time, refreshed while held."""

    name: str
    holder: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """The replay clock, while one is set. `barrier` counts advances; gateways acknowledge each."""

    name: str
    now: float
    barrier: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesVersion:
    """How often the routing table has changed; one row, named `routes`."""

    name: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionStatus:
    """What a gateway says of a revision it was told to load.

    After `ready` the probe holds the latency gate's evidence: how many replayed requests were tried on the candidate,
    how many failed or took longer than the SLO, and quantiles beside those of stable at the same moment.
    """

    revision: str
    state: str  # "loading", "ready", "failed"
    error: str = ""
    mode: str = ""  # "converted" or "worker"
    probes: int = 0
    probe_errors: int = 0
    probe_over_slo: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    stable_p50_ms: float = 0.0
    stable_p99_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """One gateway process as last heard of; `sequence` is the last delta applied, so applying twice changes nothing."""

    id: str
    url: str
    started_at: float
    seen_at: float
    routes_version: int = 0
    barrier: int = 0
    sequence: int = 0
    dropped: int = 0
    statuses: tuple[RevisionStatus, ...] = ()
