"""What a kill -9 leaves behind is cleared by the next of its kind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tournant.domain.sweep import Listed
from tournant.domain.tracking import RunStatus
from tournant.services.context import Context
from tournant.services.leftovers import clear_leftovers, scratch_folder
from tournant.services.recreation import SCRATCH, VERIFICATION_TAG
from tournant.services.sweeps import Objective, run_sweep
from tournant.services.tracking import create_run, find_runs, get_run


def test_folder_and_runs_of_a_killed_process_go_and_others_stay(context: Context) -> None:
    """A lock that died tells which are whose."""
    left = create_run(context, experiment="verify-m", tags={VERIFICATION_TAG: "dead"})
    alive = create_run(context, experiment="verify-m", tags={VERIFICATION_TAG: "alive"})
    dead = context.settings.home / SCRATCH / "dead"
    (dead / "0").mkdir(parents=True)
    with scratch_folder(context, SCRATCH, "alive") as folder:
        assert [run.id for run in clear_leftovers(context, SCRATCH, VERIFICATION_TAG)] == [left.id]
        assert folder.is_dir()
    assert not folder.exists()
    assert list((context.settings.home / SCRATCH).iterdir()) == []
    assert get_run(context, left.id).status is RunStatus.CANCELLED
    assert get_run(context, alive.id).status is RunStatus.RUNNING


def test_a_sweep_after_one_that_was_killed_tells_and_clears(context: Context, tmp_path: Path) -> None:
    """Its folder, its run's record, and the step that outlived it."""
    folder = tmp_path / "project"
    folder.mkdir()
    seen = tmp_path / "pid"
    (folder / "tournant.yaml").write_text(
        "project: s\nparams: {n: 1}\npipeline:\n"
        f'  one: {{run: \'echo $$ > {seen}; sleep ${{n}}; echo "{{\\"score\\": 1}}" > m.json\', params: [n], metrics: [m.json]}}\n'
    )
    command = [sys.executable, "-m", "tournant", "sweep", "--over", "n=60,61", "--metric", "score"]
    child = subprocess.Popen(
        [*command, "--project", str(folder), "--home", str(context.settings.home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not (seen.exists() and seen.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    pid = int(seen.read_text())
    (killed,) = find_runs(context, experiment="s")
    assert len([path for path in (context.settings.home / "sweeps").iterdir() if path.is_dir()]) == 1
    said: list[str] = []
    run_sweep(context, folder, Listed([{"n": 0}]), Objective(metric="score"), on_progress=said.append)
    assert said[0] == f"run {killed.name} of a sweep that was killed is cancelled, and its folder removed"
    assert get_run(context, killed.id).status is RunStatus.CANCELLED
    assert list((context.settings.home / "sweeps").iterdir()) == []
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
