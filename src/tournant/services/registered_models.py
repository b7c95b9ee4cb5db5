"""Registered models as things of their own: begun empty, described, tagged, renamed, deleted."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tournant.domain.deployment import Revision
from tournant.domain.registry import AliasMove, ModelAlias, ModelVersion, RegisteredModel
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.texts import check_key, check_texts

__all__ = [
    "create_model",
    "delete_model",
    "describe_model",
    "refuse_deployed",
    "rename_model",
    "require_model",
    "tag_model",
]


def create_model(
    ctx: Context, name: str, *, description: str = "", tags: Mapping[str, str] | None = None
) -> RegisteredModel:
    """Begin a registered model without versions; Conflict when one has the name."""
    check_model_name(name)
    check_texts(tags or {}, "tag")
    check_texts({"description": description}, "text")
    now = ctx.clock.now()
    model = RegisteredModel(name=name, created_at=now, updated_at=now, description=description, tags=dict(tags or {}))
    with ctx.transactions.begin() as uow:
        if uow.get(RegisteredModel, name) is not None:
            raise Conflict(f"Registered Model (name={name}) already exists.")
        uow.add(model)
        uow.record(ctx.event("model.created", f"model/{name}", f"model {name} begun"))
    return model


def describe_model(ctx: Context, name: str, description: str) -> RegisteredModel:
    """Describe a model."""
    check_texts({"description": description}, "text")
    return _change(ctx, name, lambda model: replace(model, description=description))


def tag_model(ctx: Context, name: str, tags: Mapping[str, str | None]) -> RegisteredModel:
    """Set tags; None takes one away."""
    check_texts({key: value or "" for key, value in tags.items()}, "tag")

    def change(model: RegisteredModel) -> RegisteredModel:
        merged = {key: value for key, value in {**model.tags, **tags}.items() if value is not None}
        return replace(model, tags=merged)

    return _change(ctx, name, change)


def rename_model(ctx: Context, name: str, new_name: str) -> RegisteredModel:
    """Give a model another name, with its versions and aliases; Conflict when it is taken, or a version was deployed."""
    check_model_name(new_name)
    with ctx.transactions.begin() as uow:
        model = require_model(uow, name, lock=True)
        if new_name == name:
            return model
        if uow.get(RegisteredModel, new_name) is not None:
            raise Conflict(f"Registered Model (name={new_name}) already exists.")
        versions = uow.find(ModelVersion, model=name)
        refuse_deployed(uow, versions)
        renamed = replace(model, name=new_name, updated_at=ctx.clock.now())
        uow.add(renamed)
        if versions:
            uow.add(*(replace(each, id=f"{new_name}@{each.number}", model=new_name) for each in versions))
        aliases = uow.find(ModelAlias, model=name)
        if aliases:
            uow.add(*(replace(each, model=new_name) for each in aliases))
        moves = uow.find(AliasMove, model=name)
        if moves:
            uow.save(*(replace(each, model=new_name) for each in moves))
        _remove(uow, name)
        uow.record(ctx.event("model.renamed", f"model/{new_name}", f"model {name} is now {new_name}", before=name))
    return renamed


def delete_model(ctx: Context, name: str) -> None:
    """Delete a model with its versions and aliases; Conflict when one was deployed. The moves of its aliases stay in the events."""
    with ctx.transactions.begin() as uow:
        require_model(uow, name, lock=True)
        refuse_deployed(uow, uow.find(ModelVersion, model=name))
        _remove(uow, name)
        uow.record(ctx.event("model.deleted", f"model/{name}", f"model {name} deleted"))


def refuse_deployed(uow: UnitOfWork, versions: list[ModelVersion]) -> None:
    """Invalid when a version is or was deployed: what ran in production stays on record."""
    ids = [version.id for version in versions]
    found = uow.find(Revision, model_version__in=ids, limit=1) if ids else []
    if found:
        raise Invalid(
            f"{found[0].model_version} was deployed as {found[0].id}: what ran in production stays on record under its name"
        )


def require_model(uow: UnitOfWork, name: str, *, lock: bool = False) -> RegisteredModel:
    """Read a model, or say that there is none."""
    model = uow.get(RegisteredModel, name, lock=lock)
    if model is None:
        raise NotFound(f"Registered Model with name={name} not found; list them: tournant models list")
    return model


def check_model_name(name: str) -> None:
    """Invalid unless it is a model's name."""
    check_key(name, "model", longest=256)
    if any(character in name for character in "/:@") or name in (".", ".."):
        raise Invalid(f"Invalid model name {name[:100]!r}: it cannot contain '/', ':' or '@'", place="name")


def _remove(uow: UnitOfWork, name: str) -> None:
    uow.remove(ModelAlias, model=name)
    uow.remove(AliasMove, model=name)
    uow.remove(ModelVersion, model=name)
    uow.remove(RegisteredModel, name=name)


def _change(ctx: Context, name: str, change: Callable[[RegisteredModel], RegisteredModel]) -> RegisteredModel:
    with ctx.transactions.begin() as uow:
        changed = replace(change(require_model(uow, name, lock=True)), updated_at=ctx.clock.now())
        uow.save(changed)
    return changed
