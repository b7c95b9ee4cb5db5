"""Jobs as processes of this machine, which outlive whoever started them and are found again by id."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from tournant.config import Settings
from tournant.domain.machine import numeric_defaults
from tournant.errors import Invalid, Unavailable
from tournant.ports import Job, JobStatus

__all__ = ["LocalExecutor"]

RUNNER = Path(__file__).with_name("job_runner.py")
TERM_SECONDS = 5.0
LOST = -signal.SIGKILL  # the exit code of a job whose runner vanished with it


class JobRecord(msgspec.Struct, frozen=True):
    """`job.json`: the runner's process, told from a later one with the same id by when it started."""

    pid: int
    started: str


class LocalExecutor:
    """Runs each job under a small runner in a session of its own; the runner writes the exit code down."""

    def __init__(self, root: Path, settings: Settings) -> None:
        """Keep records under `root`, one folder a job."""
        self._root = root
        self._settings = settings
        self._mine: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, job: Job) -> None:
        """Start a job; a second start of a running id changes nothing."""
        if self.status(job.id).state == "running":
            return
        folder = self._folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("exit_code", "job.json"):
            (folder / name).unlink(missing_ok=True)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        command = ["sh", "-c", job.command] if isinstance(job.command, str) else list(job.command)
        arguments = [sys.executable, "-S", "-E", str(RUNNER), str(folder / "exit_code"), str(job.niceness), *command]
        try:
            with job.log.open("ab") as log:
                process = subprocess.Popen(
                    arguments,
                    cwd=job.cwd,
                    env=self._environ(job),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as exc:
            raise Unavailable(f"job {job.id} cannot start in {job.cwd}: {exc}") from exc
        self._mine[job.id] = process
        record = JobRecord(process.pid, _started(process.pid) or "")
        partial = folder / ".job.json"
        partial.write_bytes(msgspec.json.encode(record))
        partial.replace(folder / "job.json")

    def status(self, job_id: str) -> JobStatus:
        """Tell how a job is doing."""
        self._reap(job_id)
        record = self._record(job_id)
        if record is None:
            return JobStatus(state="unknown")
        running = _runs(record)  # asked first: the code is written before the runner ends
        with contextlib.suppress(FileNotFoundError, ValueError):
            code = int((self._folder(job_id) / "exit_code").read_text())
            self._await_runner(job_id)
            return JobStatus(state="ended", exit_code=code)
        return JobStatus(state="running") if running else JobStatus(state="ended", exit_code=LOST)

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> JobStatus:
        """Wait for a job to end, or for the time to pass."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = 0.002
        while (status := self.status(job_id)).state == "running":
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(pause)
            pause = min(1.5 * pause, 0.1)
        return status

    def stop(self, job_id: str) -> None:
        """End a job and all it started: SIGTERM, and after five seconds SIGKILL."""
        record = self._record(job_id)
        if record is None or not _runs(record):
            return
        _signal_group(record.pid, signal.SIGTERM)
        self.wait(job_id, timeout_seconds=TERM_SECONDS)
        _signal_group(record.pid, signal.SIGKILL)
        self.wait(job_id, timeout_seconds=TERM_SECONDS)

    def stop_all(self) -> None:
        """End every job that this process started."""
        for job_id in list(self._mine):
            self.stop(job_id)

    def _environ(self, job: Job) -> dict[str, str]:
        return self._settings.child_environ({**numeric_defaults(job.threads), **job.env})

    def _reap(self, job_id: str, *, wait: bool = False) -> None:
        """Leave no zombie behind; `wait` for a runner that has written its exit code, and so is about to end."""
        process = self._mine.get(job_id)
        if process is not None and (process.wait() if wait else process.poll()) is not None:
            self._mine.pop(job_id, None)  # another thread may have been quicker

    def _await_runner(self, job_id: str) -> None:
        """Leave no zombie of a runner that has written the code down and is about to end."""
        process = self._mine.pop(job_id, None)
        if process is not None:
            process.wait()

    def _record(self, job_id: str) -> JobRecord | None:
        try:
            return msgspec.json.decode((self._folder(job_id) / "job.json").read_bytes(), type=JobRecord)
        except FileNotFoundError:
            return None

    def _folder(self, job_id: str) -> Path:
        if not job_id or not all(character.isalnum() or character in "-_." for character in job_id) or job_id[0] == ".":
            raise Invalid(f"{job_id!r} is no job id: letters, digits, '-', '_' and '.' only")
        return self._root / job_id


def _started(pid: int) -> str | None:
    """Give when a process started, in ticks since the machine did; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _runs(record: JobRecord) -> bool:
    return _started(record.pid) == record.started


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
