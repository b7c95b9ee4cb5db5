"""Work that is done elsewhere: jobs in processes, and what a sweep tries next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Executor", "Job", "JobStatus", "Sampler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command for an executor. `threads` bounds numeric libraries; `niceness` keeps training from starving serving.

    `env` are variables beside the executor's own; None takes one away.
    """

    id: str
    command: Sequence[str] | str
    cwd: Path
    log: Path
    env: Mapping[str, str | None] = field(default_factory=dict)
    threads: int = 1
    niceness: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """`state` is `unknown`, `running` or `ended` (then with an exit code, negative for a signal)."""

    state: str
    exit_code: int | None = None


class Executor(Protocol):
    """Runs commands; a job outlives the control plane that started it and can be found again by id."""

    def start(self, job: Job) -> None:
        """Start a job; a second start of a running id changes nothing."""
        ...

    def status(self, job_id: str) -> JobStatus:
        """Tell how a job is doing."""
        ...

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> JobStatus:
        """Wait for a job to end."""
        ...

    def stop(self, job_id: str) -> None:
        """End a job and all it started."""
        ...


class Sampler(Protocol):
    """Says what a sweep tries next, from how it went so far. Asked and told by one thread at a time."""

    count: int

    def ask(self) -> tuple[int, dict[str, object]] | None:
        """Give the next trial's number and params; None when there were enough."""
        ...

    def tell(self, number: int, value: float | None, *, pruned: bool = False) -> None:
        """Say how a trial went; None: it has no value, since it failed or was stopped."""
        ...
