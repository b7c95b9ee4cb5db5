"""What every executor does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tournant.adapters.compute.local import LocalExecutor
from tournant.errors import Invalid
from tournant.ports import Job, JobStatus


@pytest.fixture
def executor(tmp_path, settings):
    executor = LocalExecutor(tmp_path / "jobs", settings)
    yield executor
    executor.stop_all()


def job(tmp_path, command, **more) -> Job:
    return Job(id="job-1", command=command, cwd=tmp_path, log=tmp_path / "log.txt", **more)


@pytest.mark.parametrize(
    "command", ["echo hello; exit 3", [sys.executable, "-c", "print('hello'); raise SystemExit(3)"]]
)
def test_a_job_ends_with_its_exit_code_and_its_output_in_the_log(executor, tmp_path, command):
    """Text runs in a shell, a list as it is; both leave output and exit code."""
    executor.start(job(tmp_path, command))
    assert executor.wait("job-1") == JobStatus(state="ended", exit_code=3)
    assert (tmp_path / "log.txt").read_text() == "hello\n"


def test_an_unknown_job_is_unknown(executor):
    """A job that never was is unknown, and an id that is a path is refused."""
    assert executor.status("nobody").state == "unknown"
    with pytest.raises(Invalid, match="job id"):
        executor.status("../jobs")


def test_a_job_outlives_who_started_it(executor, tmp_path, settings):
    """Another executor on the same folder finds a job by id, and learns how it ended, after its starter died."""
    code = (
        "import os, sys; from pathlib import Path; from tournant.adapters.compute.local import LocalExecutor; "
        "from tournant.config import Settings; from tournant.ports import Job; root = Path(sys.argv[1]); "
        "LocalExecutor(root / 'jobs', Settings(home=root, environ=dict(os.environ))).start("
        "Job(id='job-1', command='sleep 0.3; exit 7', cwd=root, log=root / 'log.txt')); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    assert executor.status("job-1").state == "running"
    assert executor.wait("job-1", timeout_seconds=20) == JobStatus(state="ended", exit_code=7)


def test_stopping_ends_all_that_a_job_started(executor, tmp_path):
    """Children of a job end with it."""
    executor.start(job(tmp_path, "sleep 60 & echo $! > child; wait"))
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        time.sleep(0.01)
    child = int((tmp_path / "child").read_text())
    executor.stop("job-1")
    assert executor.status("job-1").state == "ended"
    assert not _alive(child)


def test_a_job_that_was_killed_is_ended_not_lost(executor, tmp_path):
    """When runner and command vanish without a word, the job has ended, and not well."""
    executor.start(job(tmp_path, "echo $$ > shell; sleep 60"))
    while not (tmp_path / "shell").exists() or not (tmp_path / "shell").read_text():
        time.sleep(0.01)
    os.killpg(os.getpgid(int((tmp_path / "shell").read_text())), signal.SIGKILL)
    status = executor.wait("job-1", timeout_seconds=20)
    assert status.state == "ended"
    assert status.exit_code < 0


def test_threads_and_niceness_reach_the_job(executor, tmp_path):
    """Numeric libraries see the bound on threads, the scheduler the niceness."""
    executor.start(job(tmp_path, "echo $OMP_NUM_THREADS $(nice)", threads=3, niceness=5))
    executor.wait("job-1")
    threads, niceness = (tmp_path / "log.txt").read_text().split()
    assert (threads, int(niceness) - os.nice(0)) == ("3", 5)


def test_starting_a_running_job_again_changes_nothing(executor, tmp_path):
    """A second start of a running id is no second process."""
    again = job(tmp_path, "echo started; sleep 0.2")
    executor.start(again)
    executor.start(again)
    executor.wait("job-1")
    assert (tmp_path / "log.txt").read_text() == "started\n"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
