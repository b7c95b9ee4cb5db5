"""The home folder: what a running tournant writes there for others to find it."""

import contextlib
import os
import secrets
from dataclasses import replace
from pathlib import Path

import msgspec

from tournant.config import Settings
from tournant.errors import Unavailable

__all__ = [
    "ServerRecord",
    "ensure_token",
    "hear_mlflow",
    "make_home",
    "read_server",
    "remove_server",
    "write_atomically",
    "write_server",
]


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`server.json`: where a running tournant answers. Process ids are this machine's."""

    url: str
    gateway_url: str
    pid: int
    control_pid: int = 0
    gateway_pids: tuple[int, ...] = ()


def make_home(settings: Settings) -> None:
    """Make the home folder if it is not there; Unavailable when it cannot be made or written."""
    try:
        (settings.home / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise Unavailable(f"the home {settings.home} cannot be used ({exc.strerror}). Choose another: --home") from exc


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file's content so that a reader sees the old or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_server(settings: Settings, record: ServerRecord) -> None:
    """Say that tournant runs."""
    write_atomically(settings.home / "server.json", msgspec.json.encode(record))


def read_server(home: Path) -> ServerRecord | None:
    """Give the running tournant of a home, or None when its supervisor is gone."""
    try:
        record = msgspec.json.decode((home / "server.json").read_bytes(), type=ServerRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return record if _runs(record.pid) else None


def remove_server(settings: Settings) -> None:
    """Say that tournant has stopped."""
    with contextlib.suppress(FileNotFoundError):
        (settings.home / "server.json").unlink()


def ensure_token(settings: Settings) -> Settings:
    """Give settings with a token where one is needed: made at the first start on a public address, kept in `home/token`."""
    path = settings.home / "token"
    if settings.token:
        return settings
    if path.exists():
        return replace(settings, token=path.read_text().strip())
    if not settings.public:
        return settings
    token = secrets.token_urlsafe(24)
    write_atomically(path, token.encode(), mode=0o600)
    return replace(settings, token=token)


def hear_mlflow(settings: Settings) -> Settings:
    """Give settings by which MLflow's clients in pipelines log to the server that runs on the home, if one does and nothing else is said."""
    server = read_server(settings.home)
    if server is None or "MLFLOW_TRACKING_URI" in settings.environ:
        return settings
    return replace(ensure_token(settings), mlflow_url=server.url)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
