"""`tournant up`: one light process that keeps a control plane and its gateways running, and stops them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tournant.bootstrap.home import ServerRecord, ensure_token, make_home, read_server, remove_server, write_server
from tournant.bootstrap.parent import SUPERVISOR
from tournant.config import Settings
from tournant.errors import Conflict, Unavailable
from tournant.serving.priority import NICENESS, give_way

__all__ = ["Supervisor", "check_free"]

FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 10.0
STEADY_SECONDS = 20.0  # a process that ran this long starts again at the first backoff
STOP_SECONDS = 7.0


@dataclass(slots=True)
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    niceness: int = 0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    backoff_seconds: float = FIRST_BACKOFF_SECONDS
    restarts: int = 0
    restart_at: float = field(default=0.0)


class Supervisor:
    """Starts the processes, restarts one that dies with growing pauses, and ends them on request."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """Prepare for `settings`; `say` tells a person what happens."""
        make_home(settings)
        self.settings = ensure_token(settings)
        self._say = say
        self._stopping = threading.Event()
        s = self.settings
        common = ("--home", str(s.home), "--host", s.host, "--port", str(s.port))
        database = ("--database", s.database) if s.database else ()
        self._children = [
            Child(
                "control plane",
                (sys.executable, "-m", "tournant.bootstrap.control_plane", *common, *database),
                niceness=NICENESS,
            ),
            *(Child(_gateway_name(index), self._gateway_command()) for index in range(s.gateways)),
        ]

    def _gateway_command(self) -> Sequence[str]:
        s = self.settings
        command = [sys.executable, "-m", "tournant.bootstrap.gateway", "--home", str(s.home)]
        command += ["--host", s.gateway_host, "--port", str(s.gateway_port), "--control-url", self.control_url]
        command += ["--workers", str(s.workers)]
        if s.grpc_port is not None:
            command += ["--grpc-port", str(s.grpc_port)]
        return [*command, "--share-port"] if s.gateways > 1 else command

    @property
    def control_url(self) -> str:
        """Where processes of this machine reach the control plane."""
        return f"http://{_reachable(self.settings.host)}:{self.settings.port}"

    @property
    def gateway_url(self) -> str:
        """Where processes of this machine reach the gateway."""
        return f"http://{_reachable(self.settings.gateway_host)}:{self.settings.gateway_port}"

    def start(self) -> None:
        """Start both, after making sure that nobody else runs here or listens there."""
        check_free(self.settings)
        for child in self._children:
            self._spawn(child)

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return once `/health` answers 200 on both ports."""
        deadline = time.monotonic() + timeout_seconds
        for name, url in (("control plane", self.control_url), ("gateway", self.gateway_url)):
            while not _healthy(url) and not self._stopping.is_set():
                if time.monotonic() > deadline:
                    raise Unavailable(f"the {name} did not get ready: see {self.settings.home / 'logs'}")
                self._keep_running()
                time.sleep(0.05)

    def run(self) -> None:
        """Keep both running until `stop` is asked for (by SIGTERM or SIGINT too)."""
        while not self._stopping.wait(0.1):
            self._keep_running()

    def ask_to_stop(self, *_signal: object) -> None:
        """Make `run` return."""
        self._stopping.set()

    def stop(self) -> None:
        """End both processes: politely, then not."""
        self._stopping.set()
        running = [child.process for child in reversed(self._children) if child.process]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if running:  # else the record, if there is one, is another's
            remove_server(self.settings)

    def _keep_running(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            if not child.restart_at:
                self._plan_restart(child, now)
            elif now >= child.restart_at and not self._stopping.is_set():
                child.restarts += 1
                self._spawn(child)

    def _plan_restart(self, child: Child, now: float) -> None:
        assert child.process is not None
        if now - child.started_at > STEADY_SECONDS:
            child.backoff_seconds = FIRST_BACKOFF_SECONDS
        child.restart_at = now + child.backoff_seconds
        self._say(f"the {child.name} ended with {child.process.returncode}; starting it again")
        child.backoff_seconds = min(2 * child.backoff_seconds, LONGEST_BACKOFF_SECONDS)

    def _spawn(self, child: Child) -> None:
        environ = {**self.settings.environ, SUPERVISOR: str(os.getpid())}
        if self.settings.token:
            environ["TOURNANT_TOKEN"] = self.settings.token
        log = self.settings.home / "logs" / f"{child.name.replace(' ', '-')}.log"
        with log.open("ab") as output:
            child.process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
                start_new_session=True,
            )
        give_way(child.process.pid, child.niceness)
        child.started_at = time.monotonic()
        child.restart_at = 0.0
        self._write_record()

    def _write_record(self) -> None:
        control, *gateways = (child.process.pid if child.process else 0 for child in self._children)
        record = ServerRecord(
            url=self.control_url,
            gateway_url=self.gateway_url,
            pid=os.getpid(),
            control_pid=control,
            gateway_pids=tuple(gateways),
        )
        write_server(self.settings, record)


def _gateway_name(index: int) -> str:
    return f"gateway {index + 1}" if index else "gateway"


def check_free(settings: Settings) -> None:
    """Make sure that nobody else runs on this home or listens on its ports; Conflict if somebody does."""
    running = read_server(settings.home)
    if running:
        raise Conflict(
            f"tournant runs already in {settings.home} (process {running.pid}, {running.url}). "
            f"Stop it: tournant down --home {settings.home}"
        )
    if settings.port == settings.gateway_port:
        raise Conflict(
            f"control plane and gateway cannot both listen on port {settings.port}. "
            f"Choose another: --gateway-port {settings.port + 1}"
        )
    _refuse_used_port("--port", settings.host, settings.port)
    _refuse_used_port("--gateway-port", settings.gateway_host, settings.gateway_port)


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound


def _refuse_used_port(flag: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise Conflict(
                f"port {port} on {host} cannot be used ({exc.strerror}). Choose another: {flag} {port + 1}"
            ) from exc


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health", timeout=2) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
