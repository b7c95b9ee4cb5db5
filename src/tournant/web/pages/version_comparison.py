"""`/models/{name}/compare`: versions of a model side by side: metrics, params, signature, code, environment, data."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from tournant.domain.deployment import Revision, RevisionState
from tournant.domain.registry import Column, ModelAlias, ModelVersion, RegisteredModel, Signature
from tournant.domain.tracking import Run
from tournant.errors import Invalid, NotFound
from tournant.services.run_environments import requirements_at
from tournant.services.vouching import newest_verifications
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.curves import CurveChart, curve_charts, split_ids
from tournant.web.pages.differences import Heading, Table, metric_table, text_table
from tournant.web.pages.formats import number, plural, stamp
from tournant.web.pages.run_comparison import mark_runs, split_datasets
from tournant.web.pages.surroundings import Made, Surroundings, compare_surroundings

__all__ = ["PAGES", "VersionComparisonPage"]

MOST_VERSIONS = 50
NEWEST = 3  # that are compared when none are named


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionComparisonPage(View):
    """Model versions side by side; the first is the base that others are compared with."""

    model: RegisteredModel
    versions: tuple[ModelVersion, ...] = ()
    columns: tuple[Heading, ...] = ()
    runs: tuple[Run, ...] = ()  # which they come from, where they are on record
    charts: tuple[CurveChart, ...] = ()
    tables: tuple[Table, ...] = ()
    surroundings: Surroundings | None = None


def compare(ask: Ask) -> VersionComparisonPage:
    """Compare versions."""
    model = ask.get(RegisteredModel, ask.path["name"], noun="model")
    versions = _versions(ask, model)
    crumbs = (
        Crumb(text="Models", href="/models"),
        Crumb(text=model.name, href=f"/models/{quote(model.name)}"),
        Crumb(text="Compare"),
    )
    title, command = f"Versions of {model.name}", f"tournant models show {model.name}"
    if not versions:
        return VersionComparisonPage(title=title, crumbs=crumbs, command=command, now=ask.now, model=model)
    found = {version.run: ask.uow.runs.get(version.run) for version in versions if version.run}
    runs = [found.get(version.run) for version in versions]
    kept = tuple({run.id: run for run in runs if run}.values())
    lines = {run.id: i for i, run in enumerate(kept)}
    tables = (
        metric_table("Metrics", [_metrics(v, run) for v, run in zip(versions, runs, strict=True)]),
        text_table("Params", [run.params if run else {} for run in runs]),
        text_table("Signature", [_signature(version.signature) for version in versions]),
        text_table("About", [_facts(ask, version) for version in versions]),
        text_table("Tags", [_tags(version) for version in versions]),
    )
    made = [
        Made(
            name=version.id,
            code=version.code,
            commit=version.commit,
            environment=version.environment or requirements_at(ask.uow, version.artifact_location),
            datasets=split_datasets(version.datasets),
        )
        for version in versions
    ]
    surroundings = compare_surroundings(ask.uow, ask.blobs, made)
    return VersionComparisonPage(
        title=title,
        crumbs=crumbs,
        command=command,
        verdict=_verdict(versions, tables, surroundings),
        now=ask.now,
        model=model,
        versions=versions,
        columns=tuple(
            Heading(name=v.id, href=f"/models/{quote(model.name)}/versions/{v.number}", line=lines.get(v.run))
            for v in versions
        ),
        runs=kept,
        charts=curve_charts(ask.uow, kept),
        tables=tables,
        surroundings=surroundings,
    )


def _versions(ask: Ask, model: RegisteredModel) -> tuple[ModelVersion, ...]:
    """Read the versions named, the base first; without any, the newest ones, the oldest of them the base."""
    left_out = set(ask.every("without"))
    named = tuple(each for each in split_ids(ask.every("versions")) if each not in left_out)
    if not named:
        newest = ask.uow.find(ModelVersion, model=model.name, order="-number", limit=NEWEST)
        return tuple(reversed(newest))
    if len(named) > MOST_VERSIONS:
        raise Invalid(f"{len(named)} versions are too many; name at most {MOST_VERSIONS}", place="versions")
    strange = [each for each in named if not each.isdecimal() or len(each) > 9]
    if strange:
        raise Invalid(f"{strange[0]!r} is no version of {model.name}; a version is a number", place="versions")
    found = {v.number: v for v in ask.uow.find(ModelVersion, model=model.name, number__in=[int(n) for n in named])}
    missing = [each for each in named if int(each) not in found]
    if missing:
        raise NotFound(f"There is no version {', '.join(missing)} of {model.name}.")
    base = ask.query.get("base", "")
    versions = dict.fromkeys(int(each) for each in named)
    return tuple(found[each] for each in sorted(versions, key=lambda n: str(n) != base))


def _metrics(version: ModelVersion, run: Run | None) -> dict[str, float]:
    return {**(run.metrics if run else {}), **version.metrics}


def _signature(signature: Signature) -> dict[str, str]:
    output = ", ".join(filter(None, (signature.output.kind, "/".join(signature.output.classes))))
    return {"→ output": output, **{column.name: _column(column) for column in signature.inputs}}


def _column(column: Column) -> str:
    return f"{column.type.value}, may be missing" if column.nullable else column.type.value


def _facts(ask: Ask, version: ModelVersion) -> dict[str, str]:
    revisions = ask.uow.find(Revision, model_version=version.id)
    proved = newest_verifications(ask.uow, [version.id]).get(version.id)
    conversion = version.conversion
    parity = (
        f", largest difference {number(conversion.max_difference)}" if conversion.max_difference is not None else ""
    )
    facts = {
        "Made": f"{stamp(version.created_at)} UTC",
        "By": version.actor,
        "Flavor": version.flavor,
        "Predicts with": version.predict,
        "Conversion": f"{conversion.status.value}{parity}",
        "Verified": proved.verdict.value if proved else "",
        "Aliases": ", ".join(a.alias for a in ask.uow.find(ModelAlias, model=version.model, version=version.number)),
        "Answers": ", ".join(r.deployment for r in revisions if r.state is RevisionState.STABLE),
        "In a rollout": ", ".join(r.deployment for r in revisions if r.state is RevisionState.CANDIDATE),
        "Stage": version.stage if version.stage != "None" else "",
    }
    return {name: text for name, text in facts.items() if text}


def _tags(version: ModelVersion) -> dict[str, str]:
    return {key: value for key, value in version.tags.items() if not key.startswith("mlflow.")}


def _verdict(versions: Sequence[ModelVersion], tables: Sequence[Table], surroundings: Surroundings) -> Verdict:
    if len(versions) == 1:
        return Verdict(tone="idle", head=f"{versions[0].id} stands alone.", text="Tick more on the model's page.")
    signature = tables[2].differing
    changed = [row.name.lower() for row in surroundings.sources.differing]
    changed += ["data"] if surroundings.datasets.differing else []
    text = f"{versions[0].id} is the base. "
    text += f"Also different: {', '.join(changed)}." if changed else "Code, environment and data are the same."
    return Verdict(
        tone="warn" if signature else "idle",
        head=f"{len(versions)} versions differ in {plural(len(tables[0].differing), 'metric')} "
        f"and {plural(len(tables[1].differing), 'param')}.",
        text=text,
        note=f"They do not take or give the same: {', '.join(row.name for row in signature[:8])}." if signature else "",
    )


def _mark(ask: Ask) -> str:
    runs = [ask.uow.runs.get(version.run) for version in _versions(ask, _model(ask)) if version.run]
    return mark_runs([run for run in runs if run])


def _model(ask: Ask) -> RegisteredModel:
    return ask.get(RegisteredModel, ask.path["name"], noun="model")


PAGES = (
    Page(
        path="/models/{name}/compare",
        template="version_comparison.html",
        section="models",
        view=compare,
        charts=True,
        mark=_mark,
    ),
)
