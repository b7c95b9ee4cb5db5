"""`/datasets`, one dataset, and one of its versions."""

from dataclasses import dataclass

from tournant.domain.data import Dataset, DatasetVersion
from tournant.domain.registry import ModelVersion
from tournant.domain.retraining import Retraining
from tournant.domain.run_query import RunQuery
from tournant.domain.tracking import Run
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.formats import bytes_text, plural

__all__ = ["PAGES", "DatasetPage", "DatasetRow", "DatasetVersionPage", "DatasetsPage"]

NEWEST_RUNS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow:
    """A dataset in the list."""

    dataset: Dataset
    versions: int
    newest: DatasetVersion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetsPage(View):
    """All datasets."""

    datasets: tuple[DatasetRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPage(View):
    """One dataset and its versions."""

    dataset: Dataset
    versions: tuple[DatasetVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersionPage(View):
    """One immutable version: what it is and what was made of it."""

    version: DatasetVersion
    previous: DatasetVersion | None
    runs: tuple[Run, ...]
    models: tuple[ModelVersion, ...]
    retrainings: tuple[Retraining, ...]


def list_datasets(ask: Ask) -> DatasetsPage:
    """List datasets."""
    rows = []
    for dataset in ask.uow.find(Dataset, order="name"):
        newest = ask.uow.find(DatasetVersion, dataset=dataset.name, order="-number", limit=1)
        versions = ask.uow.count(DatasetVersion, dataset=dataset.name)
        rows.append(DatasetRow(dataset=dataset, versions=versions, newest=newest[0] if newest else None))
    total = sum(row.versions for row in rows)
    head = f"{total} versions of {len(rows)} dataset{'s' if len(rows) != 1 else ''}, each immutable and named by its digest."
    return DatasetsPage(
        title="Datasets",
        crumbs=(Crumb(text="Datasets"),),
        command="tournant data list",
        verdict=Verdict(tone="idle", head=head) if rows else None,
        now=ask.now,
        datasets=tuple(rows),
    )


def show_dataset(ask: Ask) -> DatasetPage:
    """Show one dataset."""
    dataset = ask.get(Dataset, ask.path["name"], noun="dataset")
    versions = tuple(ask.uow.find(DatasetVersion, dataset=dataset.name, order="-number", limit=200))
    head = f"{versions[0].id} is the newest of {len(versions)}." if versions else "It has no version yet."
    return DatasetPage(
        title=dataset.name,
        crumbs=(Crumb(text="Datasets", href="/datasets"), Crumb(text=dataset.name)),
        command=f"tournant data log {dataset.name}",
        verdict=Verdict(tone="idle", head=head, text=versions[0].source if versions else ""),
        now=ask.now,
        dataset=dataset,
        versions=versions,
    )


def show_dataset_version(ask: Ask) -> DatasetVersionPage:
    """Show one dataset version."""
    name, number = ask.path["name"], ask.path["number"]
    version = ask.get(DatasetVersion, f"{name}@{number}", noun="dataset version")
    before = ask.uow.find(DatasetVersion, dataset=name, number__lt=version.number, order="-number", limit=1)
    runs = [run for run in ask.uow.runs.find(RunQuery(limit=NEWEST_RUNS)) if version.id in run.datasets]
    models = ask.uow.find(ModelVersion, run__in=[run.id for run in runs], order="model,number") if runs else []
    used = f"{len(runs)} run{'s' if len(runs) != 1 else ''} and {len(models)} model version{'s' if len(models) != 1 else ''}"
    return DatasetVersionPage(
        title=version.id,
        crumbs=(
            Crumb(text="Datasets", href="/datasets"),
            Crumb(text=name, href=f"/datasets/{name}"),
            Crumb(text=f"version {number}"),
        ),
        command=f"tournant data log {name}",
        verdict=Verdict(
            tone="prog" if models else "idle",
            head=f"{version.id} was used by {used}.",
            text=f"{plural(version.files, 'file')}, {bytes_text(version.size_bytes)}. {version.source}",
        ),
        now=ask.now,
        version=version,
        previous=before[0] if before else None,
        runs=tuple(runs),
        models=tuple(models),
        retrainings=tuple(ask.uow.find(Retraining, dataset_version=version.id)),
    )


PAGES = (
    Page(path="/datasets", template="datasets.html", section="datasets", view=list_datasets),
    Page(
        path="/datasets/{name}@{number}", template="dataset_version.html", section="datasets", view=show_dataset_version
    ),
    Page(path="/datasets/{name}", template="dataset.html", section="datasets", view=show_dataset),
)
