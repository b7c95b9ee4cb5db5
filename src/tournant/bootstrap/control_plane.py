"""The control plane's composition root: the only place that chooses its adapters."""

import argparse
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from tournant.adapters.clock import BusinessClock
from tournant.bootstrap.home import ensure_token
from tournant.bootstrap.house import open_context
from tournant.bootstrap.parent import die_with_parent
from tournant.config import Settings
from tournant.controllers.lockstep import LockstepReplay
from tournant.controllers.loop import ControlLoop
from tournant.controllers.monitor import MonitorController
from tournant.controllers.notification import NotificationController
from tournant.controllers.retraining import RetrainingController
from tournant.controllers.rollout import RolloutController
from tournant.services.context import Context
from tournant.services.retraining import find_active
from tournant.web.app import create_app
from tournant.web.changes import Changes
from tournant.web.pages import dashboard

__all__ = ["run_control_plane"]

STOP_SECONDS = 1.0  # for a message under way


def run_control_plane(settings: Settings) -> None:
    """Serve the API and the dashboard, and run the controllers, until SIGTERM."""
    settings = ensure_token(settings)
    changes = Changes()
    ctx = open_context(settings)
    notification = NotificationController(ctx)
    loop = ControlLoop(
        ctx,
        {
            "rollout": RolloutController(ctx),
            "monitor": MonitorController(ctx),
            "retraining": RetrainingController(ctx),
            "notification": notification,
        },
        on_change=changes.poke,
    )
    lockstep = LockstepReplay(ctx, _settable(ctx), changed=changes.poke, settle=loop.tick_until_quiet)
    ctx = replace(ctx, lockstep=lockstep)

    @asynccontextmanager
    async def controllers(_app: Starlette) -> AsyncIterator[None]:
        loop.start()
        try:
            yield
        finally:
            loop.stop()
            notification.stop(STOP_SECONDS)
            for retraining in find_active(ctx):  # its job would outlive us; the next start takes it up again
                if retraining.job:
                    ctx.executor.stop(retraining.job)

    gc.freeze()  # what is loaded stays; and a large answer is many small objects, none of them garbage yet
    gc.set_threshold(50_000, 20, 20)
    app = create_app(ctx, changes, pages=dashboard(ctx), lifespan=controllers)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run()


def _settable(ctx: Context) -> BusinessClock:
    assert isinstance(ctx.clock, BusinessClock)
    return ctx.clock


def main() -> None:
    """Run from the command line, as the supervisor does."""
    parser = argparse.ArgumentParser(prog="python -m tournant.bootstrap.control_plane")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--database", default=None)
    given = parser.parse_args()
    settings = Settings.load(home=given.home, host=given.host, port=given.port, database=given.database)
    die_with_parent(settings.environ)
    run_control_plane(settings)


if __name__ == "__main__":
    main()
