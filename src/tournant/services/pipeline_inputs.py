"""All that a run of a pipeline is given: the project, its data in versions, code snapshot and environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tournant.domain.data import DatasetVersion
from tournant.domain.environment import Environment
from tournant.domain.pipeline import Project
from tournant.errors import NotFound
from tournant.services.code import capture_code, find_commit
from tournant.services.context import Context
from tournant.services.data import add_dataset_version, checkout_dataset_version, list_datasets
from tournant.services.environments import capture_environment
from tournant.services.projects import load_project

__all__ = ["PipelineInputs", "gather_inputs", "names_in_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineInputs:
    """All that a run is given."""

    project: Project
    folder: Path
    data: Mapping[str, DatasetVersion]
    environment: Environment | None
    code: str
    commit: str


def gather_inputs(
    ctx: Context, folder: Path, datasets: Mapping[str, str], params: Mapping[str, object]
) -> PipelineInputs:
    """Read a project and keep its data, code and environment on record; `datasets` and `params` replace its own."""
    project = load_project(folder, provided={*datasets, *names_in_store(ctx)}, params=params)
    unknown = [name for name in datasets if name not in project.data]
    if unknown:
        known = ", ".join(project.data) or "none"
        raise NotFound(f"the project has no dataset {unknown[0]!r} (it has: {known})")
    data = {name: _bring(ctx, name, folder, path, datasets.get(name)) for name, path in project.data.items()}
    return PipelineInputs(
        project=project,
        folder=folder,
        data=data,
        environment=capture_environment(ctx, project),
        code=capture_code(ctx, project, folder),
        commit=find_commit(folder),
    )


def names_in_store(ctx: Context) -> set[str]:
    """Name the datasets that have versions: they need not be on disk."""
    return {dataset.name for dataset in list_datasets(ctx)}


def _bring(ctx: Context, name: str, folder: Path, path: str, wanted: str | None) -> DatasetVersion:
    """Give the version of a dataset that a run reads: the one wanted, the one whose content is there, or a new one."""
    if wanted or not (folder / path).exists():
        return checkout_dataset_version(ctx, wanted or name, folder / path)
    digest = ctx.blobs.put_tree(folder / path).digest
    with ctx.transactions.begin(write=False) as uow:
        known = uow.find(DatasetVersion, dataset=name, digest=digest, order="-number", limit=1)
    return known[0] if known else add_dataset_version(ctx, name, folder / path, source="project", project_path=path)
