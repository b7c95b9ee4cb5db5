"""Logging from a training script: `start_run`, `log_metric`, `log_param`.

Inside a step of `tournant run` the run exists already (TOURNANT_RUN_ID) and is logged to; elsewhere `start_run` makes one. The
client is chosen as the command line chooses it: TOURNANT_URL, or the home in TOURNANT_HOME or ./.tournant.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from tournant.config import Settings
from tournant.domain.tracking import DEFAULT_EXPERIMENT, Run, RunStatus
from tournant.errors import Conflict
from tournant.sdk.client import Client

__all__ = ["log_metric", "log_metrics", "log_param", "log_params", "start_run"]

_active: ContextVar[tuple[Client, str] | None] = ContextVar("tournant_active_run", default=None)


@contextmanager
def start_run(name: str = "", *, experiment: str = DEFAULT_EXPERIMENT) -> Iterator[Run]:
    """Track what happens in the `with` block; an exception makes the run failed."""
    environ = Settings.load().environ
    client = Client(environ.get("TOURNANT_URL"), actor=environ.get("USER", ""))
    existing = environ.get("TOURNANT_RUN_ID")
    run: Run = client.runs.get(id=existing).run if existing else client.runs.create(name=name, experiment=experiment)
    token = _active.set((client, run.id))
    try:
        yield run
    except BaseException as exc:
        if not existing:
            client.runs.finish(id=run.id, status=RunStatus.FAILED, error=f"{type(exc).__name__}: {exc}")
        raise
    else:
        if not existing:
            client.runs.finish(id=run.id, status=RunStatus.SUCCESSFUL)
    finally:
        _active.reset(token)
        client.transport.close()


def log_metric(key: str, value: float, step: int = 0) -> None:
    """Log one metric value of the active run."""
    client, run = _required()
    client.runs.log(id=run, metrics=[{"key": key, "value": float(value), "step": step}])


def log_metrics(metrics: Mapping[str, float], step: int = 0) -> None:
    """Log several metrics of one step."""
    client, run = _required()
    client.runs.log(id=run, metrics=[{"key": k, "value": float(v), "step": step} for k, v in metrics.items()])


def log_param(key: str, value: object) -> None:
    """Log one param of the active run."""
    log_params({key: value})


def log_params(params: Mapping[str, object]) -> None:
    """Log several params."""
    client, run = _required()
    client.runs.log(id=run, params={key: str(value) for key, value in params.items()})


def _required() -> tuple[Client, str]:
    active = _active.get()
    if active is None:
        raise Conflict("no run is active: log inside `with tournant.start_run():`")
    return active
