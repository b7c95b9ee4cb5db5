"""Folders to work in that a `kill -9` leaves behind, and runs that it leaves marked as running: told by a lock that died."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tournant.domain.run_query import All, Comparison, Entity, RunQuery
from tournant.domain.tracking import Run, RunStatus, StepRun
from tournant.services.context import Context
from tournant.services.tracking import LARGEST_PAGE, finish_run

__all__ = ["cancel_runs", "clear_leftovers", "scratch_folder"]


@contextmanager
def scratch_folder(ctx: Context, kind: str, name: str) -> Iterator[Path]:
    """Give an empty folder in the home (so that files are linked, not copied), and take it away again."""
    folder = ctx.settings.home / kind / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_suffix(".lock")
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # before there is a folder: without a lock it would be a killed one's
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def clear_leftovers(ctx: Context, kind: str, tag: str) -> list[Run]:
    """Remove the scratch folders of a kind whose process was killed, and cancel their runs, which have the folder's name as `tag`."""
    cancelled: list[Run] = []
    for folder in sorted(path for path in (ctx.settings.home / kind).glob("*") if path.is_dir()):
        lock = folder.with_suffix(".lock")
        with lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it is at work
            cancelled += cancel_runs(ctx, tag, folder.name)
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
    return cancelled


def cancel_runs(ctx: Context, tag: str, value: str) -> list[Run]:
    """End what killed runs with a tag have left behind: their records, and jobs which outlived them."""
    with ctx.transactions.begin(write=False) as uow:
        tagged = Comparison(entity=Entity.TAG, key=tag, operator="=", value=value)
        going = Comparison(entity=Entity.ATTRIBUTE, key="status", operator="=", value=RunStatus.RUNNING.value)
        left = uow.runs.find(RunQuery(condition=All((tagged, going)), limit=LARGEST_PAGE))
        steps = [step for run in left for step in uow.find(StepRun, run=run.id, status=RunStatus.RUNNING)]
    for step in steps:
        ctx.executor.stop(f"{step.run}-{step.step}")
    return [
        finish_run(ctx, run.id, status=RunStatus.CANCELLED, error="interrupted: its process was killed") for run in left
    ]
