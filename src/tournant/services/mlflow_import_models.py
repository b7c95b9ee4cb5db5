"""Logged and registered models of an MLflow store: versions keep their numbers, aliases name what they named."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tournant.domain.logged_models import LoggedModel, LoggedModelStatus
from tournant.domain.registry import AliasMoveState, ModelAlias, ModelVersion, RegisteredModel
from tournant.domain.tracking import Experiment
from tournant.errors import Invalid
from tournant.ports import SourceLoggedModel, SourceModel, SourceVersion, UnitOfWork
from tournant.services.aliases import set_alias
from tournant.services.artifacts import SCHEME, artifact_path, copy_artifacts
from tournant.services.mlflow_import_files import Brought, bring_files
from tournant.services.mlflow_import_report import (
    IMPORT_STATE,
    IMPORTED_ALIASES,
    IMPORTED_FROM,
    INCOMPLETE,
    Importing,
    fingerprint,
    is_identifier,
)
from tournant.services.registered_models import check_model_name
from tournant.services.texts import check_key, check_texts
from tournant.services.versions import STAGES, pointing_version

__all__ = ["bring_logged_model", "bring_model"]

_PROMPT = "mlflow.prompt.is_prompt"
_OF_VERSION = re.compile(r"^models:/([^/]+)/(\d+)$")
_IN_LOGGED_MODEL = re.compile(r"(?:^models:/|/models/)(m-[0-9a-f]+)(?:/artifacts)?(?:/(.*))?$")
_IN_RUN = re.compile(r"(?:^runs:/(\w+)|/([0-9a-f]{32})/artifacts)(?:/(.*))?$")


def bring_logged_model(work: Importing, experiment: Experiment, given: SourceLoggedModel) -> None:
    """Bring a logged model with its files; one that was made here is left."""
    if not is_identifier(given.id):
        raise Invalid(f"{given.id[:80]!r} is no id of a logged model")
    check_key(given.name, "logged model", longest=500)
    ctx, owner = work.ctx, f"logged model {given.id}"
    with ctx.transactions.begin(write=False) as uow:
        here = uow.get(LoggedModel, given.id)
    if here and IMPORTED_FROM not in here.tags:
        raise Invalid("a logged model of this id was made here, and not imported; it stays as it is")
    metrics = sorted(given.metrics, key=lambda each: (each.key, each.dataset_name, each.dataset_digest))
    state = fingerprint(replace(given, metrics=tuple(metrics), place=replace(given.place, uri="")))
    before = here.tags.get(IMPORT_STATE, "") if here else ""
    location = f"{SCHEME}:/{here.experiment if here else experiment.number}/models/{given.id}/artifacts"
    if here and before.removesuffix(INCOMPLETE) == state:
        files = bring_files(work, given.place, location, owner=owner, trust_size=True)
        if not files.files and (before == state or not files.whole):
            work.report.unchanged += 1
            return
    else:
        here = _begin_logged_model(work, experiment, given, here, location)
        pending = given.status is LoggedModelStatus.PENDING
        files = bring_files(work, given.place, location, owner=owner, trust_size=not pending and not before)
    with ctx.transactions.begin() as uow:
        now = uow.get(LoggedModel, given.id, lock=True) or here
        tags = {**now.tags, IMPORT_STATE: state if files.whole else state + INCOMPLETE}
        uow.save(replace(now, tags=tags, artifact_location=files.location))
        summary = f"{given.name} imported from {work.source.address}"
        uow.record(ctx.event("logged_model.imported", f"logged_model/{given.id}", summary, run=given.run))
    work.report.logged_models += 1
    work.tell()


def _begin_logged_model(
    work: Importing, experiment: Experiment, given: SourceLoggedModel, here: LoggedModel | None, location: str
) -> LoggedModel:
    owner = f"logged model {given.id}"
    tags = {
        **({key: value for key, value in here.tags.items() if key != IMPORT_STATE} if here else {}),
        **work.report.keepable(given.tags, "tag", owner),
        IMPORTED_FROM: work.source.address,
    }
    deleted_at = (here.deleted_at if here else None) or (given.updated_at if given.deleted else None)
    model = LoggedModel(
        id=given.id,
        experiment=here.experiment if here else experiment.number,
        name=given.name,
        created_at=given.created_at,
        updated_at=given.updated_at,
        artifact_location=location,
        status=given.status,
        model_type=given.model_type,
        run=given.run,
        params=work.report.keepable(given.params, "param", owner),
        tags=tags,
        deleted_at=deleted_at,
    )
    with work.ctx.transactions.begin() as uow:
        uow.save(model)
        uow.save(*given.metrics)
    return model


def bring_model(work: Importing, given: SourceModel) -> None:
    """Bring a registered model with its versions and aliases; one that was made here is left."""
    if given.tags.get(_PROMPT, "").lower() == "true":
        work.report.leave("prompt", given.name, "tournant keeps no prompts")
        return
    check_model_name(given.name)
    check_texts({"description": given.description}, "text")
    model = _begin_model(work, given)
    for version in given.versions:
        with work.skipping("model version", f"{given.name}@{version.number}"):
            _bring_version(work, given.name, version)
    named: dict[str, int] = json.loads(model.tags.get(IMPORTED_ALIASES, "{}"))
    for alias, number in sorted(given.aliases.items()):
        with work.skipping("alias", f"{given.name}@{alias}"):
            _bring_alias(work, given.name, alias, number, named.get(alias))
            named[alias] = number
    with work.ctx.transactions.begin() as uow:
        model = uow.get(RegisteredModel, given.name, lock=True) or model
        tags = {**model.tags, IMPORTED_ALIASES: json.dumps(named, sort_keys=True)}
        uow.save(replace(model, tags=tags, versions=max(model.versions, given.last_number)))


def _begin_model(work: Importing, given: SourceModel) -> RegisteredModel:
    """Give the model of the name, begun if there is none, and brought up to date; Invalid when it was made here."""
    ctx = work.ctx
    tags = work.report.keepable(given.tags, "tag", f"model {given.name}")
    state = fingerprint(given.description, given.tags)
    with ctx.transactions.begin() as uow:
        here = uow.get(RegisteredModel, given.name, lock=True)
        if here and IMPORTED_FROM not in here.tags:
            raise Invalid(
                "a model of this name was made here, and not imported: rename one of the two, and import again"
            )
        if here and here.tags.get(IMPORT_STATE) == state:
            return here
        model = replace(
            here or RegisteredModel(name=given.name, created_at=given.created_at),
            updated_at=given.updated_at,
            description=given.description,
            tags={
                **(here.tags if here else {}),
                **tags,
                IMPORTED_FROM: work.source.address,
                IMPORT_STATE: state,
            },
            versions=max(here.versions if here else 0, given.last_number),
        )
        uow.save(model)
        uow.record(
            ctx.event(
                "model.imported", f"model/{given.name}", f"model {given.name} imported from {work.source.address}"
            )
        )
    work.report.models += 1
    return model


def _bring_version(work: Importing, model: str, given: SourceVersion) -> None:
    ctx, version_id = work.ctx, f"{model}@{given.number}"
    check_texts({"description": given.description, "source": given.source, "run_link": given.run_link}, "text")
    state = fingerprint(given.description, given.stage, given.tags)
    with ctx.transactions.begin(write=False) as uow:
        here = _imported_version(uow, version_id)
    before = here.tags.get(IMPORT_STATE, "") if here else ""
    if before == state:
        work.report.unchanged += 1
        return
    stage = next((known for known in STAGES if known.lower() == given.stage.lower()), "None")
    tags = work.report.keepable(given.tags, "tag", f"model version {version_id}")
    files = None
    if here is None or before.endswith(INCOMPLETE):
        files = _bring_version_files(work, version_id, given)
        if here and before.removesuffix(INCOMPLETE) == state and not files.whole:
            work.report.unchanged += 1
            return
    kept = here or replace(
        pointing_version(model, given.number, created_at=given.created_at),
        run=given.run,
        run_link=given.run_link,
        source=given.source,
        logged_model=given.logged_model,
        actor=given.actor or ctx.actor,
    )
    with ctx.transactions.begin() as uow:
        now = _imported_version(uow, version_id, lock=True) or kept
        version = replace(
            now,
            description=given.description,
            stage=stage,
            updated_at=given.updated_at,
            tags={
                **now.tags,
                **tags,
                IMPORTED_FROM: work.source.address,
                IMPORT_STATE: state if files is None or files.whole else state + INCOMPLETE,
            },
        )
        if files:
            version = replace(version, artifact_location=files.location)
        uow.save(version)
        summary = f"{version_id} imported from {work.source.address}"
        uow.record(ctx.event("model.version_imported", f"model/{model}", summary, version=version_id, run=given.run))
    work.report.versions += 1
    work.tell()


def _imported_version(uow: UnitOfWork, version_id: str, *, lock: bool = False) -> ModelVersion | None:
    found = uow.get(ModelVersion, version_id, lock=lock)
    if found and IMPORTED_FROM not in found.tags:
        raise Invalid("a version of this number was made here, and not imported; it stays as it is")
    return found


def _bring_version_files(work: Importing, version_id: str, given: SourceVersion) -> Brought:
    """Let a version have the files that were brought with its run or logged model, as they are now; else bring them."""
    ctx = work.ctx
    location = f"{SCHEME}:/registry/{fingerprint('imported', version_id)}"
    with ctx.transactions.begin() as uow:
        found, whole = _find_files(uow, given)
        if found and copy_artifacts(ctx, uow, found, artifact_path(location)):
            return Brought(whole=whole, location=location)
    return bring_files(work, given.place, location, owner=f"model version {version_id}", trust_size=True)


def _find_files(uow: UnitOfWork, given: SourceVersion) -> tuple[str, bool]:
    """Give the path here of what a version's address leads to in the store, if it is here, and whether all of it is."""
    addresses = (given.source.rstrip("/"), given.place.uri.rstrip("/"))
    named = _matching(_OF_VERSION, addresses)
    if named:
        version = uow.get(ModelVersion, f"{named[1]}@{named[2]}")
        return (artifact_path(version.artifact_location), _is_whole(version.tags)) if version else ("", False)
    inside = _matching(_IN_LOGGED_MODEL, addresses)
    logged = uow.get(LoggedModel, inside[1] if inside else given.logged_model)
    if logged:
        return artifact_path(logged.artifact_location, inside[2] or "" if inside else ""), _is_whole(logged.tags)
    inside = _matching(_IN_RUN, addresses)
    run = uow.runs.get(inside[1] or inside[2]) if inside else None
    if inside and run:
        return artifact_path(run.artifact_location, inside[3] or ""), _is_whole(run.tags)
    return "", False


def _matching(pattern: re.Pattern[str], addresses: Iterable[str]) -> re.Match[str] | None:
    return next(filter(None, map(pattern.search, addresses)), None)


def _is_whole(tags: Mapping[str, str]) -> bool:
    return not tags.get(IMPORT_STATE, "").endswith(INCOMPLETE)


def _bring_alias(work: Importing, model: str, alias: str, number: int, before: int | None) -> None:
    """Let an alias name what it names in the source, unless it was moved here since the last import."""
    with work.ctx.transactions.begin(write=False) as uow:
        here = uow.get(ModelAlias, model, alias)
    here_now = here.version if here else None
    if number in (here_now, before):  # it does so already, or was moved here and not there
        return
    if here_now != before:
        state = f"names version {here_now}" if here else "was taken away"
        raise Invalid(f"here it {state}, and in the source it was moved to {number}; it stays as it is")
    move = set_alias(work.ctx, model, alias, number, reason=f"imported from {work.source.address}")
    if move.state is AliasMoveState.WAITING:
        raise Invalid(f"it is protected here, and the move to {number} waits: tournant models approve {model} {alias}")
    work.report.aliases += 1
