"""Aliases of model versions: moved, approved where the model says so, and every move kept."""

from collections.abc import Sequence
from dataclasses import replace

from tournant.domain.registry import AliasMove, AliasMoveState, ModelAlias, ModelVersion, RegisteredModel
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id
from tournant.services.registered_models import require_model

__all__ = [
    "approve_alias",
    "ask_alias",
    "decline_alias",
    "list_alias_moves",
    "protect_aliases",
    "protect_in",
    "remove_alias",
    "set_alias",
]


def set_alias(ctx: Context, model: str, alias: str, version: int, *, reason: str = "") -> AliasMove:
    """Let an alias name a version, or ask for it where that takes an approval: the move's state tells which.

    NotFound when there is no such version.
    """
    _check_alias(alias)
    with ctx.transactions.begin() as uow:
        if uow.get(ModelVersion, f"{model}@{version}") is None:
            newest = uow.find(ModelVersion, model=model, order="-number", limit=1)
            if not newest:
                raise NotFound(f"there is no model {model!r}; list them: tournant models list")
            raise NotFound(f"model {model!r} has no version {version} (the newest is {newest[0].number})")
        return ask_alias(ctx, uow, model, alias, version, reason=reason)


def remove_alias(ctx: Context, model: str, alias: str, *, reason: str = "") -> AliasMove | None:
    """Take an alias away, or ask for it where that takes an approval; None when it is not there."""
    with ctx.transactions.begin() as uow:
        require_model(uow, model, lock=True)
        if uow.get(ModelAlias, model, alias, lock=True) is None:
            return None
        return ask_alias(ctx, uow, model, alias, None, reason=reason)


def ask_alias(
    ctx: Context, uow: UnitOfWork, model: str, alias: str, version: int | None, *, reason: str = ""
) -> AliasMove:
    """Move an alias of a model that is there, in the caller's transaction, or let the move wait if the alias is protected.

    A move that waits already is superseded; asking for the same again changes nothing.
    """
    registered = require_model(uow, model, lock=True)
    held = uow.get(ModelAlias, model, alias, lock=True)
    move = AliasMove(
        id=new_id(),
        model=model,
        alias=alias,
        version=version,
        before=held.version if held else None,
        state=AliasMoveState.WAITING,
        asked_at=ctx.clock.now(),
        actor=ctx.actor,
        reason=reason,
    )
    waiting = _waiting(uow, model, alias)
    if alias not in registered.protected:
        _supersede(ctx, uow, waiting)
        return _make(ctx, uow, replace(move, state=AliasMoveState.MADE))
    if waiting and waiting[0].version == version:
        return waiting[0]
    _supersede(ctx, uow, waiting)
    uow.add(move)
    words = f"{move.summary}{_because(reason)}: tournant models approve {model} {alias}"
    uow.record(ctx.event("model.alias_asked", f"model/{model}", words, alias=alias, version=version, reason=reason))
    return move


def approve_alias(ctx: Context, model: str, alias: str, *, reason: str = "") -> AliasMove:
    """Make the move that waits; Conflict when none does, or when whoever asked for it is who approves."""
    with ctx.transactions.begin() as uow:
        move = _required_waiting(uow, model, alias)
        if move.actor == ctx.actor:
            raise Conflict(
                f"{model}@{alias}: {ctx.actor or 'nobody'} asked for this move; somebody else has to approve it",
                place=alias,
            )
        if move.version is not None and uow.get(ModelVersion, f"{model}@{move.version}") is None:
            raise Conflict(f"{model} has no version {move.version} any more; decline the move: {_declining(move)}")
        held = uow.get(ModelAlias, model, alias, lock=True)
        decided = replace(_decided(ctx, move, AliasMoveState.MADE, reason), before=held.version if held else None)
        return _make(ctx, uow, decided)


def decline_alias(ctx: Context, model: str, alias: str, *, reason: str = "") -> AliasMove:
    """Refuse the move that waits; Conflict when none does. Whoever asked for it may, too."""
    with ctx.transactions.begin() as uow:
        declined = _decided(ctx, _required_waiting(uow, model, alias), AliasMoveState.DECLINED, reason)
        uow.save(declined)
        words = f"{declined.summary}{_because(reason)}"
        data = {"alias": alias, "version": declined.version, "reason": reason}
        uow.record(ctx.event("model.alias_declined", f"model/{model}", words, **data))
    return declined


def protect_aliases(ctx: Context, model: str, aliases: Sequence[str]) -> RegisteredModel:
    """Say which aliases of a model move only after an approval; moves that wait go on waiting."""
    with ctx.transactions.begin() as uow:
        return protect_in(ctx, uow, model, aliases)


def protect_in(ctx: Context, uow: UnitOfWork, model: str, aliases: Sequence[str]) -> RegisteredModel:
    """Do so in the caller's transaction."""
    for alias in aliases:
        _check_alias(alias)
    found, protected = require_model(uow, model, lock=True), tuple(sorted(set(aliases)))
    if found.protected == protected:
        return found
    changed = replace(found, protected=protected, updated_at=ctx.clock.now())
    uow.save(changed)
    words = f"aliases of {model} that take an approval: {', '.join(protected) or 'none'}"
    uow.record(ctx.event("model.aliases_protected", f"model/{model}", words, aliases=list(protected)))
    return changed


def list_alias_moves(ctx: Context, model: str, *, limit: int = 100) -> list[AliasMove]:
    """List the moves of a model's aliases, the newest first."""
    with ctx.transactions.begin(write=False) as uow:
        require_model(uow, model)
        return uow.find(AliasMove, model=model, order="-asked_at,-id", limit=limit)


def _make(ctx: Context, uow: UnitOfWork, move: AliasMove) -> AliasMove:
    """Let the alias name what the move says, and keep the move."""
    model, alias = move.model, move.alias
    agreed = f" (approved by {move.decided_by})" if move.decided_by else ""
    data = {"alias": alias, "version": move.version, "before": move.before, "reason": move.reason}
    if move.version is None:
        uow.remove(ModelAlias, model=model, alias=alias)
    else:
        now = ctx.clock.now()
        uow.save(ModelAlias(model=model, alias=alias, version=move.version, moved_at=now, actor=move.actor))
    uow.save(move)
    kind = "model.alias_removed" if move.version is None else "model.alias_set"
    uow.record(ctx.event(kind, f"model/{model}", f"{move.summary}{_because(move.reason)}{agreed}", **data))
    return move


def _supersede(ctx: Context, uow: UnitOfWork, waiting: Sequence[AliasMove]) -> None:
    for move in waiting:
        uow.save(_decided(ctx, move, AliasMoveState.SUPERSEDED, ""))


def _decided(ctx: Context, move: AliasMove, state: AliasMoveState, reason: str) -> AliasMove:
    return replace(move, state=state, decided_at=ctx.clock.now(), decided_by=ctx.actor, decision=reason)


def _waiting(uow: UnitOfWork, model: str, alias: str) -> list[AliasMove]:
    return uow.find(AliasMove, model=model, alias=alias, state=AliasMoveState.WAITING.value, order="-asked_at,-id")


def _required_waiting(uow: UnitOfWork, model: str, alias: str) -> AliasMove:
    require_model(uow, model, lock=True)
    found = _waiting(uow, model, alias)
    if not found:
        raise Conflict(f"no move of {model}@{alias} waits for an approval; see: tournant models history {model}")
    return found[0]


def _check_alias(alias: str) -> None:
    if not alias or alias.isdigit() or not all(c.isalnum() or c in "_-." for c in alias):
        raise Invalid(f"{alias!r} is no alias: letters, digits, '_', '-' and '.', and not a number", place="alias")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _declining(move: AliasMove) -> str:
    return f"tournant models decline {move.model} {move.alias}"
