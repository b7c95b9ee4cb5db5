"""What a gateway needs to know to serve: the routing table, pushed by long poll and cached on disk."""

import msgspec

from tournant.domain.registry import Scalar, Signature

__all__ = ["DeploymentRoute", "ModelRoute", "RevisionRoute", "RoutingTable"]


class ModelRoute(msgspec.Struct, frozen=True, kw_only=True):
    """How to load one model version.

    `onnx` is the digest of the converted (or native) model; empty when there is none, and then the model folder `tree`
    (a tree digest) runs in a worker of the environment `python` + `lock`.
    """

    version: str
    onnx: str = ""
    tree: str = ""
    entry: str = ""
    flavor: str = ""
    predict: str = ""
    environment: str = ""
    python: str = ""
    lock: str = ""
    datasets: tuple[str, ...] = ()


class RevisionRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A revision to hold ready."""

    id: str
    model: ModelRoute
    signature: Signature
    example: tuple[dict[str, Scalar], ...]


class LogRoute(msgspec.Struct, frozen=True, kw_only=True):
    """What of each prediction is logged: a share of them, without some input columns, with keyed digests of others."""

    sample: float = 1.0
    drop: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    key: str = ""


class DeploymentRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for one deployment. Revisions are named by id; every id named is in `revisions`.

    `epoch` stamps what is counted; `canary_weight` is in basis points of 10,000; `warming` are loaded and probed with
    `warmup_requests` replayed requests but get no traffic; `standby` is what was stable before, loaded so that a rollback is
    at once.
    """

    name: str
    slo_p99_ms: float
    entity: str = ""
    stable: str = ""
    canary: str = ""
    canary_weight: int = 0
    rollout: str = ""
    epoch: int = 0
    shadows: tuple[str, ...] = ()
    warming: tuple[str, ...] = ()
    standby: str = ""
    warmup_requests: int = 50
    log: LogRoute = LogRoute()
    revisions: tuple[RevisionRoute, ...] = ()


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. `version` grows with every change, `barrier` with every advance of a replay clock.

    A gateway that sees a new `barrier` flushes predictions and deltas, then acknowledges it. `now` is business time in
    a replay, and None when business time is the wall clock.
    """

    version: int
    barrier: int = 0
    now: float | None = None
    deployments: tuple[DeploymentRoute, ...] = ()
