"""The step cache at a remote: a step that a colleague's run has made is fetched, and not made again."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from tournant.domain.data import StepCacheEntry
from tournant.domain.machine import SharedStep, StepMachine
from tournant.domain.tracking import StepRun
from tournant.errors import TournantError
from tournant.ports import RemoteStore
from tournant.services.context import CoreContext
from tournant.services.remotes import get_remote

__all__ = ["SharedSteps"]


class SharedSteps:
    """One remote's step cache, for one run. Whatever is wrong with it, the run goes on without.

    It is asked from one thread at a time. Keys are of content (command, params, deps, environment), so it does not matter whose
    project a step is of; whoever may write to the remote is trusted with what it answers.
    """

    def __init__(self, ctx: CoreContext, remote: str, say: Callable[[str], None]) -> None:
        """Share at the remote named `remote`; none if the name is empty."""
        self._ctx = ctx
        self._name = remote
        self._say = say
        self._lock = threading.Lock()
        self._off = not remote
        self.fetched = 0  # steps

    @cached_property
    def _store(self) -> RemoteStore:
        return self._ctx.open_remote(get_remote(self._ctx, self._name))

    def find(self, key: str) -> SharedStep | None:
        """Give what is shared under a key; its outs may be anywhere."""
        with self._lock:
            if self._off:
                return None
            try:
                return self._store.find_step(key)
            except TournantError as exc:
                self._give_up("asked", exc)
                return None

    def fetch(self, key: str) -> SharedStep | None:
        """Give what is shared under a key, its outs fetched into the content store; None if that cannot be had."""
        found = self.find(key)
        if found is None:
            return None
        with self._lock:
            try:
                for digest in found.entry.outs.values():
                    self._store.fetch(digest)
            except TournantError as exc:  # collected, or damaged: another step may be whole
                self._say(f"step cache: what {self._name} has of this step cannot be used: {exc.message}")
                return None
            self.fetched += 1
            return found

    def share(self, steps: Sequence[StepRun]) -> None:
        """Send the steps that a run has made, and those it took from this home's step cache where the remote lacks them.

        The latter were made by a run that failed later, while the remote was away, or before there was one.
        """
        with self._lock:
            if self._off:
                return
            made, kept = (self._entries([step for step in steps if step.cached is cached]) for cached in (False, True))
            try:
                sent = self._store.push_steps(made, where_absent=kept)
            except TournantError as exc:
                self._give_up("sent anything", exc)
                return
        if sent.steps:
            self._say(f"step cache: {sent.steps} shared at {self._name}, {sent.size_bytes:,} bytes sent")

    def _entries(self, steps: Sequence[StepRun]) -> list[SharedStep]:
        with self._ctx.transactions.begin(write=False) as uow:
            found = [(uow.get(StepCacheEntry, step.cache_key), step) for step in steps]
            machines = {step.step: uow.get(StepMachine, step.run, step.step) for _, step in found}
        return [
            SharedStep(entry=replace(entry, run=""), machine=machine.machine if machine else None)
            for entry, step in found
            if entry
            for machine in (machines[step.step],)
        ]

    def _give_up(self, what: str, error: TournantError) -> None:
        self._off = True
        self._say(f"step cache: {self._name} cannot be {what}, the run goes on without it: {error.message}")
