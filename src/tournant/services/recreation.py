"""Making a model again from a recipe, in a folder of its own, and comparing it with the recorded one."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tournant.domain.environment import Environment
from tournant.domain.machine import Machine
from tournant.domain.recipe import Recipe
from tournant.domain.registry import ModelVersion
from tournant.domain.tracking import RunStatus
from tournant.domain.verification import Agreement, Comparison, Predictions, compare_metrics, compare_predictions, judge
from tournant.errors import Invalid, TournantError
from tournant.ports import PredictionRequest
from tournant.services.context import Context
from tournant.services.environments import get_environment
from tournant.services.probes import make_probe
from tournant.services.recipes import recorded_machines, recorded_outs
from tournant.services.step_order import log_step_metrics, run_steps
from tournant.services.steps import StepRunner
from tournant.services.tracking import create_run, finish_run, get_run

__all__ = ["SCRATCH", "VERIFICATION_TAG", "Recreation", "Recreator"]

SCRATCH = "verifications"  # the kind of its folders
VERIFICATION_TAG = "tournant.verification"
VERIFIES_TAG = "tournant.verifies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recreation:
    """A model made again, as it can be asked for predictions, or the `failure` for which there is none.

    `model` is the digest of its folder.
    """

    run: str
    model: str = ""
    request: PredictionRequest | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    outs: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    failure: str = ""
    failed_step: str = ""


class Recreator:
    """Makes one model version again, as often as it takes, each time in an empty folder."""

    def __init__(
        self,
        ctx: Context,
        version: ModelVersion,
        folder: Path,
        *,
        tolerance: float,
        jobs: int,
        say: Callable[[str], None],
    ) -> None:
        """Work under `folder`."""
        self._ctx, self.version, self._folder = ctx, version, folder
        self._tolerance, self._jobs, self._say = tolerance, jobs, say
        self.probe, self._rows = make_probe(ctx, version)
        self._outs = recorded_outs(ctx, version.run)
        self.runs: list[str] = []
        self._predictions: dict[Path, Predictions] = {}

    def recreate(self, recipe: Recipe, *, why: str) -> Recreation:
        """Run a recipe's steps, and give the model they make."""
        self._say(why)
        folder = self._folder / str(len(self.runs))
        self._ctx.blobs.checkout(recipe.code, folder)
        for name, path in recipe.project.data.items():
            self._ctx.blobs.checkout(recipe.data[name], folder / path)
        self._place_frozen(recipe, folder)
        runner = self._runner(recipe, folder)
        self.runs.append(runner.run.id)
        try:
            steps = run_steps(runner, recipe.steps, jobs=self._jobs)
            log_step_metrics(runner, recipe.steps)
            request = self._request(self._find_model(recipe, folder), recipe.environment)
        except TournantError as exc:
            finish_run(self._ctx, runner.run.id, status=RunStatus.FAILED, error=exc.message)
            return Recreation(
                run=runner.run.id,
                failure=exc.message,
                failed_step=exc.place.removeprefix("pipeline."),
                machines=recorded_machines(self._ctx, runner.run.id),
            )
        except BaseException as exc:
            finish_run(self._ctx, runner.run.id, status=RunStatus.CANCELLED, error=f"interrupted: {type(exc).__name__}")
            raise
        finish_run(self._ctx, runner.run.id)
        return Recreation(
            run=runner.run.id,
            model=self._ctx.blobs.put_tree(request.folder).digest,
            request=request,
            metrics=get_run(self._ctx, runner.run.id).metrics,
            outs={path: digest for step in steps for path, digest in step.outs.items()},
            machines=recorded_machines(self._ctx, runner.run.id),
        )

    def compare(self, made: Recreation, other: Recreation | None = None) -> Comparison:
        """Compare what was made with the recorded model, or with another recreation of it.

        Only models whose files differ are asked for predictions: the same bytes in the same environment predict the same.
        """
        metrics = self.version.metrics if other is None else other.metrics
        relative = self.version.signature.output.kind == "number"
        if made.request is None or (other is not None and other.request is None):
            same = other is not None and made.request is other.request and made.failed_step == other.failed_step
            agreement = Agreement.IDENTICAL if same else Agreement.DIFFERENT
            return Comparison(agreement=agreement, max_difference=None, relative=relative, rows=len(self._rows))
        try:
            largest = self._compare_models(made, other, relative=relative)
        except Invalid:  # what was recorded does not predict here, or what was made does not anywhere
            largest = math.inf
        differing = compare_metrics(metrics, made.metrics)
        return Comparison(
            agreement=judge(largest, differing, tolerance=self._tolerance),
            max_difference=largest if math.isfinite(largest) else None,
            relative=relative,
            rows=len(self._rows),
            metrics=differing,
        )

    def _compare_models(self, made: Recreation, other: Recreation | None, *, relative: bool) -> float:
        one = made.request
        two = other.request if other else self._recorded
        assert one and two  # see compare
        same_files = made.model == (other.model if other else self.version.digest)
        if same_files and one.environment == two.environment:
            return 0.0
        asked = [request for request in (one, two) if request.folder not in self._predictions]
        for request, predictions in zip(asked, self._ctx.converter.predict(asked), strict=True):
            self._predictions[request.folder] = predictions
        return compare_predictions(self._predictions[two.folder], self._predictions[one.folder], relative=relative)

    @cached_property
    def _recorded(self) -> PredictionRequest:
        folder = self._folder / "recorded" / "model"
        self._ctx.blobs.checkout(self.version.digest, folder)
        return self._request(folder if folder.is_dir() else folder.parent, None)

    def _place_frozen(self, recipe: Recipe, folder: Path) -> None:
        """Put there what frozen steps had made: they are not run, in whatever recipe."""
        for step in recipe.project.steps:
            for path in step.products if step.frozen else ():
                if path in self._outs:
                    self._ctx.blobs.checkout(self._outs[path], folder / path)

    def _runner(self, recipe: Recipe, folder: Path) -> StepRunner:
        run = create_run(
            self._ctx,
            experiment=f"verify-{self.version.model}",
            tags={VERIFIES_TAG: self.version.id, VERIFICATION_TAG: self._folder.name},
            datasets=self.version.datasets,
            code=recipe.code,
            environment=recipe.environment.digest if recipe.environment else "",
        )
        return StepRunner(
            ctx=self._ctx,
            project=recipe.project,
            folder=folder,
            run=run,
            environment=recipe.environment,
            known={recipe.project.data[name]: recipe.data[name] for name in recipe.project.data},
            caching=False,
            variables=recipe.variables,
            say=_say_nothing,
        )

    def _find_model(self, recipe: Recipe, folder: Path) -> Path:
        """Give a folder with the model that was made and nothing else, as registering it would."""
        model = recipe.project.model
        made = folder / (model.path if model else "model")
        entry = made / self.version.entry if made.is_dir() else made
        if not entry.is_file() or entry.name != Path(self.version.entry).name:
            raise Invalid(f"the steps make no {self.version.entry!r} in {made.name!r}, where the version has its model")
        if made.is_dir():
            return made
        alone = folder.with_name(f"{folder.name}-model")
        alone.mkdir()
        shutil.copyfile(made, alone / made.name)
        return alone

    def _request(self, folder: Path, environment: Environment | None) -> PredictionRequest:
        version = self.version
        if version.flavor == "onnx":
            environment = None
        elif environment is None and version.environment:
            environment = get_environment(self._ctx, version.environment)
        return PredictionRequest(
            folder=folder,
            entry=version.entry,
            flavor=version.flavor,
            predict=version.predict,
            signature=version.signature,
            rows=self._rows,
            environment=environment,
        )


def _say_nothing(_text: str) -> None:
    return
