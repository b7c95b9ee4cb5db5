"""An `mlruns` folder: MLflow's file store, as any version of it has written it."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tournant.adapters.mlflow.locations import Locations
from tournant.adapters.mlflow.registry_files import read_models
from tournant.adapters.mlflow.values import (
    POINTS_PER_PAGE,
    RUN_NAME,
    number,
    read_dataset,
    read_logged_model_status,
    read_status,
    readable,
    seconds,
    text,
    texts,
)
from tournant.adapters.mlflow.yaml_files import META, folders, read_meta, read_texts
from tournant.domain.logged_models import ModelMetric
from tournant.domain.tracking import DatasetInput, Metric, RunModel
from tournant.errors import Invalid
from tournant.ports import (
    MlflowFiles,
    Place,
    SourceExperiment,
    SourceLoggedModel,
    SourceModel,
    SourceRun,
    Unreadable,
)

__all__ = ["FileSource"]

_TRASH, _MODELS = ".trash", "models"
_NO_RUNS = ("tags", "datasets", "traces", _MODELS)  # folders beside those of runs


class FileSource:
    """Reads an `mlruns` folder."""

    def __init__(self, root: Path, locations: Locations) -> None:
        """Read the store in `root`, and its files by `locations`."""
        self._root = root
        self.address = str(root)
        self.files: MlflowFiles = locations

    def experiments(self) -> Iterator[SourceExperiment | Unreadable]:
        """Give all experiments, the deleted ones last."""
        active = [folder for folder in folders(self._root) if folder.name not in (_TRASH, _MODELS)]
        for folder in (*active, *folders(self._root / _TRASH)):
            if (folder / META).exists():
                yield readable("experiment", folder.name, partial(self._experiment, folder))
            traces = len(folders(folder / "traces"))
            if traces:
                yield Unreadable(
                    noun="traces", name=f"{traces:,} of experiment {folder.name}", reason="tournant keeps no traces"
                )

    def _experiment(self, folder: Path) -> SourceExperiment:
        meta = read_meta(folder)
        return SourceExperiment(
            id=folder.relative_to(self._root).as_posix(),
            name=text(meta.get("name")),
            created_at=seconds(meta.get("creation_time")),
            updated_at=seconds(meta.get("last_update_time")),
            deleted=folder.parent.name == _TRASH or meta.get("lifecycle_stage") == "deleted",
            tags=read_texts(folder / "tags"),
        )

    def runs(self, experiment: str) -> Iterator[SourceRun | Unreadable]:
        """Give an experiment's runs."""
        for folder in folders(self._root / experiment):
            if folder.name not in _NO_RUNS and (folder / META).exists():
                yield readable("run", folder.name, partial(self._run, folder))

    def _run(self, folder: Path) -> SourceRun:
        meta, tags = read_meta(folder), read_texts(folder / "tags")
        run_id = text(meta.get("run_id") or meta.get("run_uuid") or folder.name)
        name = text(meta.get("run_name") or meta.get("name")) or tags.get(RUN_NAME, "")
        tags.pop(RUN_NAME, None)
        return SourceRun(
            id=run_id,
            experiment=folder.parent.relative_to(self._root).as_posix(),
            name=name,
            status=read_status(meta.get("status")),
            place=Place(uri=self._files_of(folder, text(meta.get("artifact_uri"))), run=run_id),
            started_at=seconds(meta.get("start_time")),
            ended_at=seconds(meta.get("end_time")),
            deleted=meta.get("lifecycle_stage") == "deleted",
            deleted_at=seconds(meta.get("deleted_time")),
            actor=text(meta.get("user_id")),
            params=read_texts(folder / "params"),
            tags=tags,
            measured={key: (float(file.stat().st_size),) for key, file in _files(folder / "metrics")},
            datasets=tuple(self._datasets(folder, run_id)),
            models=tuple(self._models(folder, run_id)),
        )

    def _files_of(self, folder: Path, said: str) -> str:
        """Give where a record's files are: where it says, or beside it if that is a place where the store has been before.

        The folder beside it is always made, and stays empty when files go elsewhere.
        """
        inside = folder.relative_to(self._root).as_posix().removeprefix(f"{_TRASH}/")
        own, before = folder / "artifacts", f"/{self._root.name}/{inside}/artifacts"
        if said and urlsplit(said).scheme not in ("", "file"):
            return said
        filled = own.is_dir() and any(own.iterdir())
        return str(own) if filled or not said or said.endswith(before) else said

    def _datasets(self, folder: Path, run_id: str) -> Iterator[DatasetInput]:
        for place in folders(folder / "inputs"):
            meta = read_meta(place)
            dataset = folder.parent / "datasets" / text(meta.get("source_id"))
            if meta.get("source_type") == "DATASET" and (dataset / META).exists():
                described, tags = read_meta(dataset), texts(meta.get("tags") or {})
                yield read_dataset(run_id, described, tags)

    def _models(self, folder: Path, run_id: str) -> Iterator[RunModel]:
        for place in folders(folder / "inputs"):
            meta = read_meta(place)
            if meta.get("source_type") == "MODEL":
                yield RunModel(run=run_id, model=text(meta.get("source_id")), role="input")
        for place in folders(folder / "outputs"):
            meta = read_meta(place)
            yield RunModel(
                run=run_id, model=text(meta.get("source_id")), role="output", step=int(meta.get("step") or 0)
            )

    def complete(self, run: SourceRun) -> SourceRun:
        """Give the run: nothing is missing."""
        return run

    def points(self, run: SourceRun) -> Iterator[Sequence[Metric] | Unreadable]:
        """Give the points of a run's metrics; a line that is none is named, and passed over."""
        folder = self._root / run.experiment / run.id
        for key, file in _files(folder / "metrics"):
            try:
                with file.open(encoding="utf-8", errors="replace") as lines:
                    yield from _read_points(run.id, key, lines)
            except OSError as exc:
                yield Unreadable(noun="metric", name=f"{key} of run {run.id}", reason=f"it cannot be read: {exc}")

    def logged_models(self, experiment: str) -> Iterator[SourceLoggedModel | Unreadable]:
        """Give an experiment's logged models."""
        for folder in folders(self._root / experiment / _MODELS):
            if (folder / META).exists():
                yield readable("logged model", folder.name, partial(self._logged_model, folder))

    def _logged_model(self, folder: Path) -> SourceLoggedModel:
        meta = read_meta(folder)
        model = text(meta.get("model_id") or folder.name)
        created = seconds(meta.get("creation_timestamp")) or 0.0
        return SourceLoggedModel(
            id=model,
            name=text(meta.get("name")),
            status=read_logged_model_status(meta.get("status")),
            place=Place(uri=self._files_of(folder, text(meta.get("artifact_location"))), logged_model=model),
            created_at=created,
            updated_at=seconds(meta.get("last_updated_timestamp")) or created,
            model_type=text(meta.get("model_type")),
            run=text(meta.get("source_run_id")),
            deleted=meta.get("lifecycle_stage") == "deleted",
            params=read_texts(folder / "params"),
            tags=read_texts(folder / "tags"),
            metrics=tuple(_model_metrics(model, folder / "metrics")),
        )

    def models(self) -> Iterator[SourceModel | Unreadable]:
        """Give the registered models."""
        return read_models(self._root / _MODELS)


def _read_points(run: str, key: str, lines: Iterable[str]) -> Iterator[Sequence[Metric] | Unreadable]:
    """Give the points of a metric's file, which has a line `time value step` for each; a line that is none is named."""
    page: list[Metric] = []
    for place, line in enumerate(lines, start=1):
        parts = line.split()
        try:
            step = int(parts[2]) if len(parts) > 2 else 0
            page.append(Metric(run=run, key=key, step=step, time=int(parts[0]) / 1000, value=number(parts[1])))
        except (ValueError, IndexError, OverflowError):
            yield Unreadable(noun="point", name=f"{run} {key}, line {place}", reason=f"{line[:80]!r} is none")
        if len(page) == POINTS_PER_PAGE:
            yield page
            page = []
    if page:
        yield page


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Give the files below a folder by the keys they are of: a key with slashes stands in folders."""
    found = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    return sorted((file.relative_to(folder).as_posix(), file) for file in found)


def _model_metrics(model: str, folder: Path) -> Iterator[ModelMetric]:
    """Give the last value of each metric on each dataset; lines are `time value step run [dataset digest]`."""
    for key, file in _files(folder):
        last: dict[tuple[str, str], tuple[Any, ...]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            parts = line.split(" ")
            try:
                point = (int(parts[2]), int(parts[0]) / 1000, number(parts[1]), parts[3])
            except (ValueError, IndexError) as exc:
                raise Invalid(f"its metric {key!r} has a line {line[:80]!r}") from exc
            on = (" ".join(parts[4:-1]), parts[-1]) if len(parts) > 5 else ("", "")
            last[on] = max(last.get(on, point), point)
        for (name, digest), (step, time, value, run) in last.items():
            yield ModelMetric(
                model=model,
                key=key,
                dataset_name=name,
                dataset_digest=digest,
                value=None if value != value else value,
                step=step,
                time=time,
                run=run,
            )
