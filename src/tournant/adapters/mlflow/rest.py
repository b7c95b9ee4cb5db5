"""A tracking server that speaks MLflow's REST: MLflow's own of versions 2 and 3, or another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tournant.adapters.mlflow.answers import (
    read_experiment,
    read_logged_model,
    read_model,
    read_point,
    read_run,
    read_version,
)
from tournant.adapters.mlflow.rest_client import RestClient
from tournant.adapters.mlflow.rest_files import RestFiles
from tournant.adapters.mlflow.values import PROMPT, readable
from tournant.domain.tracking import Metric
from tournant.errors import Invalid, NotFound
from tournant.ports import (
    MlflowFiles,
    SourceExperiment,
    SourceLoggedModel,
    SourceModel,
    SourceRun,
    Unreadable,
)

__all__ = ["RestSource"]

_EXPERIMENTS, _RUNS, _LOGGED_MODELS, _MODELS, _VERSIONS, _POINTS = 1000, 500, 50, 100, 1000, 25_000  # a page


class RestSource:
    """Reads a tracking server."""

    def __init__(self, client: RestClient, files: RestFiles) -> None:
        """Ask by `client`, and for files by `files`; Invalid when nobody there speaks MLflow's REST."""
        self._client = client
        try:
            client.post("/api/2.0/mlflow/experiments/search", {"max_results": 1})
        except NotFound as exc:
            raise Invalid(f"{client.address} is no tracking server that speaks MLflow's REST: {exc.message}") from exc
        self.address = client.address
        self.files: MlflowFiles = files

    def experiments(self) -> Iterator[SourceExperiment | Unreadable]:
        """Give all experiments, the deleted ones last."""
        for view in ("ACTIVE_ONLY", "DELETED_ONLY"):
            asked = {"view_type": view, "max_results": _EXPERIMENTS}
            for found in self._posted("experiments", "experiments/search", asked):
                name = str(found.get("name", ""))
                yield readable("experiment", name, partial(read_experiment, found))
                if self._has_traces(found.get("experiment_id", "")):
                    yield Unreadable(noun="traces", name=f"of experiment {name}", reason="tournant keeps no traces")

    def _has_traces(self, experiment: str) -> bool:
        try:
            asked = {"experiment_ids": experiment, "max_results": 1}
            return bool(self._client.get("/api/2.0/mlflow/traces", asked).get("traces"))
        except (Invalid, NotFound):  # a server that knows of none
            return False

    def runs(self, experiment: str) -> Iterator[SourceRun | Unreadable]:
        """Give an experiment's runs, the oldest first: what is begun meanwhile comes on the last page."""
        asked = {
            "experiment_ids": [experiment],
            "run_view_type": "ALL",
            "max_results": _RUNS,
            "order_by": ["attributes.start_time ASC"],
        }
        for found in self._posted("runs", "runs/search", asked):
            yield readable("run", str(found.get("info", {}).get("run_id", "")), partial(read_run, found))

    def complete(self, run: SourceRun) -> SourceRun:
        """Add the logged models that it has read, which a search does not tell."""
        found = self._client.get("/api/2.0/mlflow/runs/get", {"run_id": run.id})
        whole = readable("run", run.id, lambda: read_run(found["run"]))
        return run if isinstance(whole, Unreadable) else whole

    def points(self, run: SourceRun) -> Iterator[Sequence[Metric] | Unreadable]:
        """Give the points of a run's metrics."""
        for key in run.measured:
            token = ""
            while True:
                page, token = self._page(run.id, key, token)
                if page:
                    yield page
                if not token:
                    break

    def _page(self, run: str, key: str, token: str) -> tuple[list[Metric], str]:
        path = "/api/2.0/mlflow/metrics/get-history"
        asked: dict[str, Any] = {"run_id": run, "metric_key": key}
        try:
            found = self._client.get(path, {**asked, "max_results": _POINTS, "page_token": token})
        except Invalid:
            if token:
                raise
            found = self._client.get(path, asked)  # file stores of MLflow 2 know no pages
        points = [read_point(run, point) for point in found.get("metrics", ())]
        return points, found.get("next_page_token") or ""

    def logged_models(self, experiment: str) -> Iterator[SourceLoggedModel | Unreadable]:
        """Give an experiment's logged models; a server tells of no deleted ones, and MLflow 2 has none."""
        asked = {"experiment_ids": [experiment], "max_results": _LOGGED_MODELS}
        try:
            for found in self._posted("models", "logged-models/search", asked):
                name = str(found.get("info", {}).get("model_id", ""))
                yield readable("logged model", name, partial(read_logged_model, found))
        except NotFound:
            return

    def models(self) -> Iterator[SourceModel | Unreadable]:
        """Give the registered models, and after them the prompts, which are kept among them."""
        try:
            for model in self._got("registered_models", "registered-models/search", {"max_results": _MODELS}):
                name = str(model.get("name", ""))
                yield readable("model", name, partial(self._model, name, model))
        except NotFound as exc:
            yield Unreadable(noun="models", name="all", reason=f"the server has no registry: {exc.message}")
            return
        asked = {"filter": f"tag.`{PROMPT}` = 'true'", "max_results": _MODELS}
        try:
            for prompt in self._got("registered_models", "registered-models/search", asked):
                yield readable("prompt", str(prompt.get("name", "")), partial(read_model, prompt, []))
        except Invalid:  # an older server, which has none
            return

    def _model(self, name: str, model: dict[str, Any]) -> SourceModel:
        quote = '"' if "'" in name else "'"
        asked = {"filter": f"name={quote}{name}{quote}", "max_results": _VERSIONS}
        versions = self._got("model_versions", "model-versions/search", asked)
        return read_model(model, [read_version(each) for each in versions])

    def _posted(self, noun: str, path: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return _pages(noun, asked, partial(self._client.post, f"/api/2.0/mlflow/{path}"))

    def _got(self, noun: str, path: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return _pages(noun, asked, partial(self._client.get, f"/api/2.0/mlflow/{path}"))


def _pages(
    noun: str, asked: Mapping[str, Any], ask: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        found = ask({**asked, "page_token": token} if token else asked)
        yield from found.get(noun, ())
        token = found.get("next_page_token") or ""
        if not token:
            return
