"""Verifying a model version: recreate it from its record, compare, and find the cause of a difference by experiment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tournant.domain.recipe import Recipe, blend, compare_machines, compare_recipes, with_threads
from tournant.domain.verification import Agreement, Cause, Comparison, Difference, Verification
from tournant.errors import Invalid
from tournant.services.context import Context, new_id
from tournant.services.interruption import ending_cleanly
from tournant.services.leftovers import clear_leftovers, scratch_folder
from tournant.services.recipes import (
    compare_files,
    folder_recipe,
    pinned_variables,
    recorded_machines,
    recorded_outs,
    recorded_recipe,
    render_recipe,
    restored_variables,
)
from tournant.services.recreation import SCRATCH, VERIFICATION_TAG, Recreation, Recreator
from tournant.services.registry import get_version
from tournant.services.signing import sign_statement

__all__ = ["TOLERANCE", "list_verifications", "verify_version"]

TOLERANCE = 1e-6
_UNRECORDED = (
    "two runs of the record agree with each other but not with the version: it was made from something that its record does "
    "not have, such as a file outside of the project, one that .gitignore leaves out, a service, or the time of day"
)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One recreation, of what, and how it compares with the recorded model."""

    recipe: Recipe
    made: Recreation
    compared: Comparison

    @property
    def agreement(self) -> Agreement:
        return self.compared.agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Explanation:
    """Why the first attempt differs; `confirmed` when an experiment has shown it."""

    causes: tuple[Difference, ...]
    confirmed: bool


def verify_version(
    ctx: Context,
    version: str,
    *,
    project: Path | None = None,
    threads: int | None = None,
    tolerance: float = TOLERANCE,
    jobs: int = 2,
    explain: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> Verification:
    """Recreate a model version, compare it with the recorded one, and keep the verdict with the version.

    It is made from its record; with `project`, from that folder as it is now (and `threads` in each step), and the verdict
    says what of the changes matters. With `explain`, the cause of a difference is found by making the model again: without
    the changes, with one at a time, and twice the same way. Invalid when the record does not have what it takes.
    """
    if tolerance < 0:
        raise Invalid(f"a tolerance is a number from 0, not {tolerance:g}", place="tolerance")
    if threads is not None and threads < 1:
        raise Invalid(f"threads is a whole number from 1, not {threads}", place="threads")
    started = ctx.clock.now()
    found = get_version(ctx, version)
    say = on_progress or _say_nothing
    identity = new_id()
    for run in clear_leftovers(ctx, SCRATCH, VERIFICATION_TAG):
        say(f"run {run.name} of a verification that was killed is cancelled, and its folder removed")
    with ending_cleanly(), scratch_folder(ctx, SCRATCH, identity) as folder:
        recreator = Recreator(ctx, found, folder, tolerance=tolerance, jobs=jobs, say=say)
        inquiry = _Inquiry(ctx, recreator, project=project, threads=threads)
        first = inquiry.attempt(inquiry.other, why=f"{found.id}: making it again")
        changed = inquiry.differences(first)
        explanation = _Explanation(causes=(), confirmed=False)
        if first.agreement is not Agreement.IDENTICAL:
            explanation = inquiry.explain(first, changed) if explain else _unexplained(changed)
    compared = first.compared
    verification = Verification(
        id=identity,
        model_version=found.id,
        verdict=first.agreement.verdict,
        causes=explanation.causes,
        changed=tuple(difference for difference in changed if difference not in explanation.causes),
        confirmed=explanation.confirmed,
        max_difference=compared.max_difference,
        relative=compared.relative,
        tolerance=tolerance,
        rows=compared.rows,
        probe=recreator.probe,
        metrics=compared.metrics,
        outs=inquiry.compare_outs(first.made),
        from_record=project is None and threads is None,
        runs=tuple(recreator.runs),
        started_at=started,
        ended_at=ctx.clock.now(),
        actor=ctx.actor,
    )
    verification = replace(verification, statement=sign_statement(ctx, verification, found))
    _keep(ctx, verification)
    return verification


def list_verifications(ctx: Context, model_version: str) -> list[Verification]:
    """List the verifications of a model version, newest first."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Verification, model_version=model_version, order="-started_at,-id")


class _Inquiry:
    """Finds out why a recreated model differs: each step of it is one more recreation."""

    def __init__(self, ctx: Context, recreator: Recreator, *, project: Path | None, threads: int | None) -> None:
        """Read the recipe on record, and the other one that is tried (the same one without a project or threads)."""
        self._ctx, self._recreator = ctx, recreator
        version = recreator.version
        self._machines = recorded_machines(ctx, version.run)
        recorded = recorded_recipe(ctx, version)
        other = folder_recipe(ctx, project, recorded) if project else recorded
        other = replace(other, variables=restored_variables(ctx, self._machines))
        self.other = with_threads(other, threads) if threads else other
        self._unpinned = recorded

    @cached_property
    def recorded(self) -> Recipe:
        """The recipe on record, CPU kernels included."""
        pinned = pinned_variables(self._ctx, self._unpinned, self._machines)
        return replace(self._unpinned, variables=pinned)

    def attempt(self, recipe: Recipe, *, why: str) -> _Attempt:
        """Make the model from a recipe and compare it with the recorded one."""
        made = self._recreator.recreate(recipe, why=why)
        return _Attempt(recipe, made, self._recreator.compare(made))

    def differences(self, first: _Attempt) -> tuple[Difference, ...]:
        """Give all that was not as recorded in the first attempt."""
        return (
            *compare_recipes(self._unpinned, self.other),
            *compare_files(self._ctx, self._unpinned, self.other),
            *compare_machines(self._machines, first.made.machines),
        )

    def explain(self, first: _Attempt, changed: Sequence[Difference]) -> _Explanation:
        """Find the cause of a difference among what has changed; failing that, whether the record is seeded."""
        last = first
        if changed:
            last = self.attempt(self.recorded, why="it differs: making it again as recorded")
            if last.agreement < first.agreement:
                return _Explanation(causes=self._guilty(last, changed), confirmed=True)
        again = self.attempt(last.recipe, why="it differs: making it again the same way")
        if self._disagree(again, last):
            return _Explanation(causes=(self._name_randomness(last, again),), confirmed=True)
        if changed:
            return _unexplained(changed)
        if last.made.failure:
            failure = Difference(cause=Cause.FAILURE, name=_shorten(last.made.failure))
            return _Explanation(causes=(failure,), confirmed=True)
        return _Explanation(causes=(Difference(cause=Cause.UNRECORDED, name=_UNRECORDED),), confirmed=False)

    def compare_outs(self, made: Recreation) -> dict[str, tuple[str, str]]:
        """Give the digests of what steps made, as recorded and as made again: bytes, which may differ for no matter."""
        recorded = recorded_outs(self._ctx, self._recreator.version.run)
        return {path: (digest, made.outs.get(path, "")) for path, digest in sorted(recorded.items())}

    def _guilty(self, base: _Attempt, changed: Sequence[Difference]) -> tuple[Difference, ...]:
        """Give the differences of those kinds which alone make the model another one; all, if none does alone."""
        kinds = tuple(dict.fromkeys(difference.cause for difference in changed))
        if len(kinds) == 1:
            return tuple(changed)
        alone = {
            kind: self.attempt(
                render_recipe(self._ctx, blend(self.recorded, self.other, {kind})),
                why=f"it differs: making it again with only the {kind.value} changed",
            ).agreement
            for kind in kinds
        }
        worst = max(alone.values())
        guilty = {kind for kind, agreement in alone.items() if agreement == worst > base.agreement}
        return tuple(difference for difference in changed if not guilty or difference.cause in guilty)

    def _disagree(self, one: _Attempt, other: _Attempt) -> bool:
        """Tell whether two attempts at the same recipe differ between themselves as much as from the recorded model."""
        compared = self._recreator.compare(one.made, other.made)
        return compared.agreement is not Agreement.IDENTICAL and compared.agreement >= other.agreement

    def _name_randomness(self, one: _Attempt, other: _Attempt) -> Difference:
        """Tell threads, whose sums come in any order, from a missing seed: on one thread the former is steady."""
        step = self._first_unsteady(one.made, other.made)
        if any(found.threads > 1 for found in one.recipe.project.steps):
            single = with_threads(one.recipe, 1)
            twice = [self.attempt(single, why="it is not steady: making it again on one thread") for _ in range(2)]
            if self._recreator.compare(twice[0].made, twice[1].made).agreement is Agreement.IDENTICAL:
                return Difference(
                    cause=Cause.THREADS, name=f"{step} gives something else each time, on one thread it does not"
                )
        return Difference(cause=Cause.SEED, name=f"{step} gives something else each time: seed its random numbers")

    def _first_unsteady(self, one: Recreation, other: Recreation) -> str:
        for step in self.recorded.project.steps:
            if any(one.outs.get(path) != other.outs.get(path) for path in step.products):
                return f"step {step.name}"
        return "a step"


def _unexplained(changed: Sequence[Difference]) -> _Explanation:
    return _Explanation(causes=tuple(changed), confirmed=False)


def _shorten(failure: str) -> str:
    """Give a step's failure with the last line of its output: mostly the exception."""
    first, *rest = failure.splitlines()
    output = [line.strip() for line in rest if line.startswith("  ")]
    return f"{first}: {output[-1]}" if output else first


def _keep(ctx: Context, verification: Verification) -> None:
    with ctx.transactions.begin() as uow:
        uow.add(verification)
        model = verification.model_version.partition("@")[0]
        summary = f"{verification.model_version} verified: {verification.summary}"
        uow.record(ctx.event("model.version_verified", f"model/{model}", summary, version=verification.model_version))


def _say_nothing(_text: str) -> None:
    return
