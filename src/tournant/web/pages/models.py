"""`/models`, one model, and one model version with its lineage."""

from dataclasses import dataclass

from tournant.domain.data import DatasetVersion
from tournant.domain.deployment import Deployment, Revision, RevisionState
from tournant.domain.environment import Environment, packages
from tournant.domain.registry import AliasMove, ModelAlias, ModelSignature, ModelVersion, RegisteredModel
from tournant.domain.tracking import Run
from tournant.domain.verification import Verification
from tournant.errors import NotFound
from tournant.services.production import Tenure, find_tenures
from tournant.services.vouching import newest_verifications
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.differences import improved

__all__ = ["PAGES", "MetricChange", "ModelPage", "ModelRow", "ModelsPage", "Placement", "VersionPage"]

MOST_ROWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a model version is or was deployed."""

    revision: Revision
    traffic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A registered model in the list."""

    model: RegisteredModel
    versions: int
    newest: ModelVersion | None
    aliases: tuple[ModelAlias, ...]
    serving: tuple[Revision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsPage(View):
    """All registered models."""

    models: tuple[ModelRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage(View):
    """One registered model and its versions."""

    model: RegisteredModel
    versions: tuple[ModelVersion, ...]
    aliases: tuple[ModelAlias, ...]
    metrics: tuple[str, ...]
    placements: dict[str, tuple[Revision, ...]]
    verifications: dict[str, Verification]
    tenures: tuple[Tenure, ...]
    moves: tuple[AliasMove, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric beside the previous version's; `better` is None where the direction is not known or nothing changed."""

    name: str
    value: float
    previous: float | None
    better: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPage(View):
    """One model version: where it came from, where it serves, how it compares."""

    version: ModelVersion
    previous: ModelVersion | None
    run: Run | None
    datasets: tuple[DatasetVersion, ...]
    environment: Environment | None
    packages: int
    placements: tuple[Placement, ...]
    aliases: tuple[str, ...]
    metrics: tuple[MetricChange, ...]
    verification: Verification | None
    tenures: tuple[Tenure, ...]
    signature: ModelSignature | None
    added: tuple[str, ...]
    removed: tuple[str, ...]


def list_models(ask: Ask) -> ModelsPage:
    """List registered models."""
    rows = []
    for model in ask.uow.find(RegisteredModel, order="name"):
        newest = ask.uow.find(ModelVersion, model=model.name, order="-number", limit=1)
        ids = [version.id for version in ask.uow.find(ModelVersion, model=model.name, order="-number", limit=100)]
        serving = ask.uow.find(Revision, model_version__in=ids, state=RevisionState.STABLE.value) if ids else []
        rows.append(
            ModelRow(
                model=model,
                versions=ask.uow.count(ModelVersion, model=model.name),
                newest=newest[0] if newest else None,
                aliases=tuple(ask.uow.find(ModelAlias, model=model.name, order="alias")),
                serving=tuple(serving),
            )
        )
    served = sum(bool(row.serving) for row in rows)
    verdict = Verdict(tone="prog" if served else "idle", head=f"{served} of {len(rows)} models answer requests now.")
    return ModelsPage(
        title="Models",
        crumbs=(Crumb(text="Models"),),
        command="tournant models list",
        verdict=verdict if rows else None,
        now=ask.now,
        models=tuple(rows),
    )


def show_model(ask: Ask) -> ModelPage:
    """Show one model."""
    model = ask.get(RegisteredModel, ask.path["name"], noun="model")
    versions = tuple(ask.uow.find(ModelVersion, model=model.name, order="-number", limit=100))
    revisions = ask.uow.find(Revision, model_version__in=[v.id for v in versions]) if versions else []
    placements = {v.id: tuple(r for r in revisions if r.model_version == v.id) for v in versions}
    stable = [r for r in revisions if r.state is RevisionState.STABLE]
    head = f"{stable[0].model_version} answers {stable[0].deployment}." if stable else "No version answers requests."
    names = dict.fromkeys(name for version in versions for name in version.metrics)
    ids = [version.id for version in versions]
    return ModelPage(
        title=model.name,
        crumbs=(Crumb(text="Models", href="/models"), Crumb(text=model.name)),
        command=f"tournant models show {model.name}",
        verdict=Verdict(tone="prog" if stable else "idle", head=head, text=model.description),
        now=ask.now,
        model=model,
        versions=versions,
        aliases=tuple(ask.uow.find(ModelAlias, model=model.name, order="alias")),
        metrics=tuple(names)[:4],
        placements=placements,
        verifications=newest_verifications(ask.uow, ids),
        tenures=tuple(find_tenures(ask.uow, ids)[:MOST_ROWS]),
        moves=tuple(ask.uow.find(AliasMove, model=model.name, order="-asked_at,-id", limit=MOST_ROWS)),
    )


def show_version(ask: Ask) -> VersionPage:
    """Show one model version."""
    name, number = ask.path["name"], ask.path["number"]
    if not number.isdigit():
        raise NotFound(f"There is no version {number!r} of {name}; a version is a number.")
    version = ask.get(ModelVersion, f"{name}@{number}", noun="model version")
    before = ask.uow.find(ModelVersion, model=name, number__lt=version.number, order="-number", limit=1)
    previous = before[0] if before else None
    datasets = ask.uow.find(DatasetVersion, id__in=version.datasets) if version.datasets else []
    environment = ask.uow.get(Environment, version.environment)
    aliases = ask.uow.find(ModelAlias, model=name, version=version.number)
    placements = tuple(_placement(ask, revision) for revision in ask.uow.find(Revision, model_version=version.id))
    return VersionPage(
        title=version.id,
        crumbs=(
            Crumb(text="Models", href="/models"),
            Crumb(text=name, href=f"/models/{name}"),
            Crumb(text=f"version {number}"),
        ),
        command=f"tournant models show {version.id}",
        verdict=_verdict(version, placements),
        now=ask.now,
        version=version,
        previous=previous,
        run=ask.uow.runs.get(version.run) if version.run else None,
        datasets=tuple(datasets),
        environment=environment,
        packages=len(packages(environment.lock)) if environment else 0,
        placements=placements,
        aliases=tuple(alias.alias for alias in aliases),
        metrics=_metrics(version, previous),
        verification=newest_verifications(ask.uow, [version.id]).get(version.id),
        tenures=tuple(find_tenures(ask.uow, [version.id])),
        signature=ask.uow.get(ModelSignature, version.id),
        added=_missing(version, previous),
        removed=_missing(previous, version) if previous else (),
    )


def _placement(ask: Ask, revision: Revision) -> Placement:
    deployment = ask.uow.get(Deployment, revision.deployment)
    shadow = deployment is not None and revision.id in deployment.shadows
    words = {RevisionState.STABLE: "answers", RevisionState.CANDIDATE: "in a rollout"}
    return Placement(
        revision=revision, traffic="permanent shadow" if shadow else words.get(revision.state, revision.state)
    )


def _verdict(version: ModelVersion, placements: tuple[Placement, ...]) -> Verdict:
    parity = f"Conversion {version.conversion.summary}."
    stable = [p.revision for p in placements if p.revision.state is RevisionState.STABLE]
    candidate = [p.revision for p in placements if p.revision.state is RevisionState.CANDIDATE]
    if stable:
        return Verdict(tone="ok", head=f"{version.id} answers {', '.join(r.deployment for r in stable)}.", text=parity)
    if candidate:
        rolling = candidate[0]
        href = f"/deployments/{rolling.deployment}"
        return Verdict(
            tone="prog",
            head=f"{version.id} is rolling out to {rolling.deployment}.",
            text=parity,
            href=href,
            link="Rollout",
        )
    rejected = [p.revision for p in placements if p.revision.state is RevisionState.REJECTED]
    if rejected:
        return Verdict(tone="crit", head=f"{version.id} was rejected.", text=rejected[-1].reason, note=parity)
    return Verdict(tone="idle", head=f"{version.id} answers no requests.", text=parity)


def _metrics(version: ModelVersion, previous: ModelVersion | None) -> tuple[MetricChange, ...]:
    found = []
    for name, value in version.metrics.items():
        was = previous.metrics.get(name) if previous else None
        better = None if was is None else improved(name, value, was)
        found.append(MetricChange(name=name, value=value, previous=was, better=better))
    return tuple(found)


def _missing(a: ModelVersion, b: ModelVersion | None) -> tuple[str, ...]:
    """The input columns of `a` that `b` does not have, or has with another type."""
    if b is None:
        return ()
    known = {(column.name, column.type) for column in b.signature.inputs}
    return tuple(f"{c.name}: {c.type}" for c in a.signature.inputs if (c.name, c.type) not in known)


PAGES = (
    Page(path="/models", template="models.html", section="models", view=list_models),
    Page(path="/models/{name}/versions/{number}", template="version.html", section="models", view=show_version),
    Page(path="/models/{name}", template="model.html", section="models", view=show_model),
)
