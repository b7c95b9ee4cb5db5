"""The gateway's composition root: `python -m tournant.bootstrap.gateway`."""

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import structlog
import uvicorn

from tournant.adapters.environments.uv import UvEnvironments
from tournant.bootstrap.home import ensure_token
from tournant.bootstrap.parent import die_with_parent
from tournant.config import Settings
from tournant.errors import Conflict, Invalid, TournantError, Unavailable
from tournant.messages.routing import RoutingTable
from tournant.ports import EnvironmentBuilder
from tournant.serving.access import AccessLog
from tournant.serving.app import App
from tournant.serving.artifacts import ArtifactCache
from tournant.serving.connection import Listener
from tournant.serving.gateway import Gateway
from tournant.serving.identity import Identity, claim_identity
from tournant.serving.link import Link, read_cached_routes
from tournant.serving.loading import Loader
from tournant.serving.metrics import Metrics
from tournant.serving.recording import Recorder
from tournant.serving.reports import Reports
from tournant.serving.spool import FLUSH_SECONDS, Spool
from tournant.serving.tracing import Tracing, open_tracing
from tournant.serving.uploads import Uploads

if TYPE_CHECKING:  # it needs an extra
    from tournant.serving.open_inference_grpc import GrpcServer

__all__ = ["GatewayProcess", "main", "run_gateway", "server_config"]

T = TypeVar("T")
GRACE_SECONDS = 3
SWITCH_SECONDS = 0.0002  # that a thread beside the event loop may keep the interpreter from it; Python lets it for 5 ms, each time a model runs
READY_SECONDS = 20.0
LOOP_SECONDS = 30.0  # how long the event loop may take for what the link asks of it; a drain of shadows is the longest


class GatewayProcess:
    """All of one gateway process but its socket: starts with the application, and ends with it."""

    def __init__(
        self,
        settings: Settings,
        control_url: str,
        url: str,
        environments: EnvironmentBuilder,
        *,
        share_port: bool = False,
    ) -> None:
        """Serve what the control plane at `control_url` says; others reach this gateway at `url`, maybe one of several there."""
        self._share_port = share_port
        self._url = url
        self._identity: Identity = claim_identity(settings.home / "gateway")
        folder = self._identity.folder
        self._cache: Path = folder / "routes.json"
        self._client = _client(control_url, settings.token)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="load")
        environ = settings.child_environ()
        loader = Loader(
            artifacts=ArtifactCache(folder / "models", self._client),
            environments=environments,
            threads=self._threads,
            logs=folder / "logs",
            environ=environ,
            workers=settings.workers,
        )
        spool = Spool(folder / "spool")
        self.gateway = Gateway(loader, spool, self._wake, Metrics(folder))
        self._access = AccessLog(folder / "logs" / "access.ndjson", settings.access_log)
        self._access_task: asyncio.Task[None] | None = None
        self._recorder = Recorder(folder / "logs" / "recorder.log", settings.environ or environ)
        self._link = Link(
            self._client,
            self._identity.id,
            self._cache,
            apply=self._apply,
            flush=lambda: self._on_loop(self.gateway.flush),
            uploads=Uploads(spool.folder, self._recorder, self._client, self._identity.id, spool.forget),
            reports=Reports(
                self._client,
                self._identity.id,
                lambda: self._url,
                lambda: self._on_loop(self.gateway.snapshot),
                unsent=folder / "unsent.json",
            ),
        )
        self._tracing = open_tracing(settings.environ)
        self.app = App(self.gateway, self, token=settings.token, access=self._access, tracing=self._tracing)
        self._grpc = _grpc_server(self.gateway, settings, self._tracing, share_port=share_port)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def grpc_port(self) -> int:
        """The port that gRPC listens on; 0 while it does not."""
        return self._grpc.port if self._grpc else 0

    async def start(self) -> None:
        """Serve by the cached routes, and start to follow the control plane."""
        self._loop = asyncio.get_running_loop()
        cached = read_cached_routes(self._cache)
        if cached:
            self.gateway.apply(cached)
        if self._grpc:
            await self._grpc.start()
        self._link.start(cached)
        if self._share_port:  # others answer there already: whoever comes to this one must not wait for its models
            await self.gateway.wait_ready(READY_SECONDS)
        if self._access.on:
            self._access_task = asyncio.create_task(self._write_access_log())

    async def stop(self) -> None:
        """Report once more, then end what was started."""
        if self._grpc:
            await self._grpc.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._link.stop)
        if self._access_task:
            self._access_task.cancel()
            self._access.write(self._access.take())
        if self._tracing:
            await asyncio.get_running_loop().run_in_executor(None, self._tracing.stop)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._recorder.close()
        self._link.close()
        self._identity.release()

    def _apply(self, table: RoutingTable) -> None:
        assert self._loop
        with contextlib.suppress(RuntimeError):  # the loop has ended: so does the link
            self._loop.call_soon_threadsafe(self.gateway.apply, table)

    async def _write_access_log(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._threads, self._access.write, self._access.take())

    def _wake(self) -> None:
        self._link.wake()

    def _on_loop(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        assert self._loop
        try:
            return asyncio.run_coroutine_threadsafe(work(), self._loop).result(LOOP_SECONDS)
        except (TimeoutError, RuntimeError) as exc:
            raise Unavailable("the gateway's event loop is busy or has ended") from exc


def run_gateway(settings: Settings, control_url: str, *, share_port: bool = False) -> None:
    """Serve predictions until SIGTERM or SIGINT; Conflict if the port is in use, but by one that shares it too."""
    bound = _bind(settings.gateway_host, settings.gateway_port, share=share_port)
    host, port = bound.getsockname()[:2]
    process = GatewayProcess(
        settings, control_url, f"http://{_reachable(host)}:{port}", UvEnvironments(settings), share_port=share_port
    )
    gc.freeze()  # what is loaded stays
    gc.set_threshold(50_000, 20, 20)  # requests leave no cycles behind, and looking for some takes longer
    uvicorn.Server(server_config(process.app)).run(sockets=[bound])


def server_config(app: App) -> uvicorn.Config:
    """Give how a gateway speaks HTTP."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=Listener(app).connection,  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )


def main() -> None:
    """Run a gateway from the command line; exit 2 with a sentence if it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m tournant.bootstrap.gateway", description="Run one gateway.")
    parser.add_argument("--home", help="folder that holds everything")
    parser.add_argument("--control-url", required=True, help="where the control plane answers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--grpc-port", type=int, help="listen for gRPC too; 0 takes a free one")
    parser.add_argument("--workers", type=int, default=1, help="processes of each revision that is not converted")
    parser.add_argument("--share-port", action="store_true", help="let other gateways of this home listen there too")
    given = parser.parse_args()
    _log_to_stderr()
    for asked in (signal.SIGTERM, signal.SIGINT):  # uvicorn stops gracefully first, then raises the signal again
        signal.signal(asked, lambda *_: sys.exit(0))
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        settings = Settings.load(
            home=given.home, gateway_host=given.host, gateway_port=given.port, grpc_port=given.grpc_port
        )
        die_with_parent(settings.environ)
        run_gateway(ensure_token(settings), given.control_url, share_port=given.share_port)
    except TournantError as exc:
        print(f"tournant gateway: {exc.message}", file=sys.stderr)  # noqa: T201 - talk goes to stderr
        raise SystemExit(2) from exc


def _bind(host: str, port: int, *, share: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError as exc:
        bound.close()
        raise Conflict(f"the gateway cannot listen on {host}:{port} ({exc.strerror}). Choose another: --port") from exc
    return bound


def _grpc_server(
    gateway: Gateway, settings: Settings, tracing: Tracing | None, *, share_port: bool
) -> "GrpcServer | None":
    if settings.grpc_port is None:
        return None
    try:
        from tournant.serving.open_inference_grpc import GrpcServer
    except ImportError as exc:
        raise Invalid(f"gRPC needs the extra grpc ({exc.name} is missing): pip install 'tournant[grpc]'") from exc
    host = f"[{settings.gateway_host}]" if ":" in settings.gateway_host else settings.gateway_host
    return GrpcServer(
        gateway, f"{host}:{settings.grpc_port}", token=settings.token, share_port=share_port, tracing=tracing
    )


def _client(control_url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # Without trust in the environment no proxy can come between, and a plain address needs no certificates read.
    verify = ssl.create_default_context() if control_url.startswith("https:") else False
    return httpx.Client(base_url=control_url, headers=headers, verify=verify, trust_env=False)


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    main()
