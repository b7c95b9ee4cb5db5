"""Loads a revision: fetches its model, opens it in this process or in a worker, and tests it on its own example."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tournant.domain.environment import Environment
from tournant.errors import Invalid
from tournant.messages.routing import ModelRoute, RevisionRoute
from tournant.ports import EnvironmentBuilder
from tournant.serving.artifacts import ArtifactCache
from tournant.serving.failures import ModelFailed
from tournant.serving.onnx_model import ConvertedModel
from tournant.serving.outputs import check_scores
from tournant.serving.predictor import Predictor
from tournant.serving.replica import Replica
from tournant.serving.schema import RowSchema, Values
from tournant.serving.worker_process import WorkerModel

__all__ = ["Loader"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Loads beside the event loop, in `threads`; `environ` is what workers see of the process environment, `workers` how many a revision gets."""

    artifacts: ArtifactCache
    environments: EnvironmentBuilder
    threads: ThreadPoolExecutor
    logs: Path
    environ: Mapping[str, str]
    workers: int = 1

    async def load(self, route: RevisionRoute) -> Predictor:
        """Give the revision's model, tested; Invalid says why it cannot be, NotYet that it may later."""
        examples = _examples(route)
        if route.model.onnx:
            return await self._beside(lambda: self._converted(route, examples))
        replica = await self._replica(route)
        try:
            await _test(replica, route, examples)
        except BaseException:
            await replica.close()
            raise
        return replica

    def keep(self, models: Iterable[ModelRoute]) -> None:
        """Remove fetched content that none of these needs."""
        self.artifacts.keep(model.onnx or model.tree for model in models)

    def _converted(self, route: RevisionRoute, examples: list[Values]) -> ConvertedModel:
        model = ConvertedModel(self.artifacts.file(route.model.onnx), route.signature)
        if examples:
            try:
                check_scores(model.run(examples), len(examples), route.signature.output)
            except ModelFailed as exc:
                raise _failed_test(exc) from exc
            model.measure(examples)
        return model

    async def _replica(self, route: RevisionRoute) -> Replica:
        model = route.model
        if not model.tree or not model.entry:
            raise Invalid(f"model {model.version} has neither a converted model nor a folder with an entry")
        folder = await self._beside(lambda: self.artifacts.tree(model.tree))
        if not (folder / model.entry).is_file():
            raise Invalid(f"the model folder of {model.version} has no file {model.entry!r}")
        python = await self._beside(lambda: self.environments.build(_environment(model)))
        self.logs.mkdir(parents=True, exist_ok=True)
        replica = Replica(
            WorkerModel(
                python=python,
                folder=folder,
                entry=model.entry,
                predict=model.predict or "predict",
                signature=route.signature,
                log=self.logs / f"worker-{route.id.replace('/', '-')}.log",
                environ={**self.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            ),
            workers=self.workers,
        )
        await replica.start()
        return replica

    async def _beside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def _environment(model: ModelRoute) -> Environment:
    return Environment(digest=model.environment, python=model.python, lock=model.lock)


def _examples(route: RevisionRoute) -> list[Values]:
    try:
        schema = RowSchema(route.signature)
    except ValueError as exc:
        raise Invalid(f"a column of the signature cannot be a field: {exc}") from exc
    values = schema.values(route.signature)
    return [values(schema.row_of(row)) for row in route.example]


async def _test(predictor: Predictor, route: RevisionRoute, examples: list[Values]) -> None:
    if not examples:
        return
    try:
        check_scores(await predictor.predict(examples), len(examples), route.signature.output)
    except ModelFailed as exc:
        raise _failed_test(exc) from exc


def _failed_test(exc: ModelFailed) -> Invalid:
    return Invalid(f"the model loads, but fails on its own input example: {exc.message}")
