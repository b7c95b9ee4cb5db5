"""What a person can do from a page: steer a rollout, decide a retraining."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tournant.domain.deployment import Deployment
from tournant.domain.retraining import Retraining
from tournant.domain.rollout import Rollout
from tournant.errors import Conflict, Invalid, NotFound
from tournant.services import deployments, retraining, rollouts
from tournant.services.context import Context
from tournant.web.pages.csrf import check_token
from tournant.web.pages.forms import read_form
from tournant.web.pages.rendering import Renderer

__all__ = ["action_routes"]

Handler = Callable[[Request], Awaitable[Response]]
STEER: dict[str, Callable[..., Rollout]] = {
    "promote": rollouts.promote_rollout,
    "pause": rollouts.pause_rollout,
    "resume": rollouts.resume_rollout,
    "abort": rollouts.abort_rollout,
}
DECIDE: dict[str, Callable[..., Retraining]] = {
    "approve": retraining.approve_retraining,
    "reject": retraining.reject_retraining,
}
LONGEST_REASON = 500


def action_routes(ctx: Context, _renderer: Renderer, guarded: Callable[[Handler], Handler]) -> list[Route]:
    """Give the addresses that forms post to; each answers by sending the browser back to the page."""

    async def steer(request: Request) -> Response:
        verb, rollout_id = request.path_params["verb"], request.path_params["id"]
        if verb not in STEER:
            raise NotFound(f"A rollout cannot be told to {verb!r}.")
        form = await _read(request)

        def act() -> Rollout:
            _same_step(ctx, rollout_id, form.get("seen", ""))
            return STEER[verb](_acting(ctx), rollout_id, reason=form["reason"])

        done = await run_in_threadpool(act)
        return RedirectResponse(f"/deployments/{done.deployment}", 303)

    async def roll_back(request: Request) -> Response:
        name, form = request.path_params["name"], await _read(request)
        await run_in_threadpool(_roll_back, ctx, name, form)
        return RedirectResponse(f"/deployments/{name}", 303)

    async def decide(request: Request) -> Response:
        verb, form = request.path_params["verb"], await _read(request)
        if verb not in DECIDE:
            raise NotFound(f"A retraining cannot be told to {verb!r}.")
        await run_in_threadpool(lambda: DECIDE[verb](_acting(ctx), request.path_params["id"], reason=form["reason"]))
        return RedirectResponse("/retrainings", 303)

    return [
        Route("/rollouts/{id}/{verb}", guarded(steer), methods=["POST"]),
        Route("/deployments/{name}/rollback", guarded(roll_back), methods=["POST"]),
        Route("/retrainings/{id}/{verb}", guarded(decide), methods=["POST"]),
    ]


def _acting(ctx: Context) -> Context:
    return ctx.acting_as("dashboard") if ctx.actor == "system" else ctx


async def _read(request: Request) -> dict[str, str]:
    form = await read_form(request)
    check_token(request, form)
    form["reason"] = form.get("reason", "").strip()
    if not form["reason"]:
        raise Invalid("Please give a reason: it is kept with the decision.", place="reason")
    if len(form["reason"]) > LONGEST_REASON:
        raise Invalid(f"The reason is longer than {LONGEST_REASON} characters.", place="reason")
    return form


def _same_step(ctx: Context, rollout_id: str, seen: str) -> None:
    """Refuse a form that was made for an earlier step: `seen` is the epoch its page showed (the idempotency key)."""
    with ctx.transactions.begin(write=False) as uow:
        rollout = uow.get(Rollout, rollout_id)
    if rollout and not rollout.phase.final and seen and seen != str(rollout.epoch):
        raise Conflict(
            f"{rollout.revision} has moved on since you opened that page: it is now in {rollout.phase.value}."
        )


def _roll_back(ctx: Context, name: str, form: dict[str, str]) -> Any:
    """Return to an earlier revision, unless somebody already did: `seen` is the revision the page called stable."""
    with ctx.transactions.begin(write=False) as uow:
        found = uow.get(Deployment, name)
    if found and form.get("seen") and found.stable != form["seen"]:
        raise Conflict(f"{name} is already served by {found.stable}, no longer by {form['seen']}.")
    target = form.get("revision") or None
    return deployments.rollback(_acting(ctx), name, to_revision=target, reason=form["reason"])
