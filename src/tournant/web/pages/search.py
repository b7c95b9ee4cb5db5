"""Search: what a few letters may mean."""

from collections.abc import Iterable
from dataclasses import dataclass

from tournant.domain.data import Dataset
from tournant.domain.deployment import Deployment
from tournant.domain.registry import RegisteredModel
from tournant.domain.run_query import RunQuery
from tournant.ports import UnitOfWork

__all__ = ["Hit", "search"]

MOST = 12
NEWEST_RUNS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One place to jump to."""

    kind: str
    text: str
    href: str


def search(uow: UnitOfWork, text: str) -> tuple[Hit, ...]:
    """Find deployments, models, datasets and the newest runs whose name or id holds the text."""
    text = text.casefold()
    return tuple(hit for hit in _candidates(uow) if text in f"{hit.text} {hit.href}".casefold())[:MOST] if text else ()


def _candidates(uow: UnitOfWork) -> Iterable[Hit]:
    for deployment in uow.find(Deployment, order="name"):
        yield Hit(kind="deployment", text=deployment.name, href=f"/deployments/{deployment.name}")
    for model in uow.find(RegisteredModel, order="name"):
        yield Hit(kind="model", text=model.name, href=f"/models/{model.name}")
    for dataset in uow.find(Dataset, order="name"):
        yield Hit(kind="dataset", text=dataset.name, href=f"/datasets/{dataset.name}")
    for run in uow.runs.find(RunQuery(limit=NEWEST_RUNS)):
        yield Hit(kind="run", text=run.name, href=f"/runs/{run.id}")
