"""Settings of a tournant process, and the only reader of the process environment."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tournant.errors import Invalid

__all__ = ["VERSION", "Settings"]

VERSION = "0.1.0"  # pyproject.toml reads it here
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SECRETS = ("TOURNANT_TOKEN", "TOURNANT_WEBHOOKS", "TOURNANT_NOTIFY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where things are and how to listen; flags win over `TOURNANT_*` variables, those over defaults.

    `home` holds everything: metadata, content store, environments, gateway caches, logs.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 5000
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8080
    gateways: int = 1  # processes that share the gateway's port
    workers: int = 1  # processes of each revision that is not converted, in each gateway
    grpc_port: int | None = None  # None: no gRPC; 0: a free one
    database: str = ""  # empty: SQLite in home
    token: str = ""
    webhooks: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()  # apprise's addresses
    access_log: float = 0.0  # the share of requests written to a gateway's access log
    mlflow_url: str = ""  # the server that MLflow's clients in pipelines log to; empty: what their environment says
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, **flags: object) -> "Settings":
        """Combine flags (None is ignored) with the environment."""
        environ = dict(os.environ)
        given = {name: value for name, value in flags.items() if value is not None}
        defaults: dict[str, object] = {
            "home": environ.get("TOURNANT_HOME", ".tournant"),
            "database": environ.get("TOURNANT_DATABASE", ""),
            "token": environ.get("TOURNANT_TOKEN", ""),
            "webhooks": _addresses(environ.get("TOURNANT_WEBHOOKS", "")),
            "notify": _addresses(environ.get("TOURNANT_NOTIFY", "")),
            "access_log": _share(environ.get("TOURNANT_ACCESS_LOG", "")),
        }
        merged = {**defaults, **given}
        merged["home"] = Path(str(merged["home"])).expanduser().resolve()
        return cls(**merged, environ=environ)  # type: ignore[arg-type]

    @property
    def database_url(self) -> str:
        """The metadata's SQLAlchemy URL."""
        return self.database or f"sqlite:///{self.home / 'metadata.db'}"

    @property
    def public(self) -> bool:
        """Whether someone on another machine could reach a port."""
        return self.host not in LOOPBACK or self.gateway_host not in LOOPBACK

    @property
    def platform_python(self) -> str:
        """The platform interpreter's `major.minor`."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"

    def child_environ(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Give the environment variables for a child process: ours, less secrets and what would leak tournant's own Python.

        `extra` goes on top; None in it takes a variable away.
        """
        dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", *_SECRETS)
        kept = {name: value for name, value in self.environ.items() if name not in dropped}
        return {name: value for name, value in {**kept, **(extra or {})}.items() if value is not None}


def _share(given: str) -> float:
    """Read a share between 0 and 1; empty is 0."""
    try:
        share = float(given or 0)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise Invalid(f"TOURNANT_ACCESS_LOG is {given!r}: expected a share of requests between 0 and 1")
    return share


def _addresses(listed: str) -> tuple[str, ...]:
    """Split addresses at commas and spaces; a comma inside one (`?to=a@example.org,b@example.org`) is its own."""
    return tuple(filter(None, re.split(r"[,\s]+(?=[\w.+-]+://)", listed.strip(", "))))
