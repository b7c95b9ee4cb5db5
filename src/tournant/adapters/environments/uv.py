"""Environments locked and built by uv, content-addressed in the home."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec
from blake3 import blake3

from tournant.adapters.environments.interpreters import find_interpreters
from tournant.adapters.environments.machine import read_machine
from tournant.config import Settings
from tournant.domain.environment import Environment
from tournant.domain.machine import Machine
from tournant.errors import Invalid, Unavailable
from tournant.ports import BuiltEnvironment

__all__ = ["UvEnvironments"]

# What pip is told of package indexes holds for uv too, unless uv was told otherwise.
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}


class UvEnvironments:
    """Locks requirements with hashes and no index's name, and builds them under an interpreter that is already here."""

    def __init__(self, settings: Settings) -> None:
        """Keep locks and environments under `home/environments`."""
        self._settings = settings
        self._root = settings.home / "environments"

    def lock(self, *, python: str, requirements: str) -> Environment:
        """Resolve requirements; the same ones are answered from the locks kept."""
        python = python or self._settings.platform_python
        interpreter = self._interpreter(python)
        kept = self._root / "locks" / f"{_digest(python, requirements)}.json"
        if kept.exists():
            return msgspec.json.decode(kept.read_bytes(), type=Environment)
        lock = self._compile(python, interpreter, requirements)
        environment = Environment(digest=_digest(python, lock), python=python, lock=lock, created_at=time.time())
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}.{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(environment))
        partial.replace(kept)
        return environment

    def build(self, environment: Environment) -> Path:
        """Give the interpreter of the built environment."""
        folder = self._root / environment.digest
        python = folder / "bin" / "python"
        if (folder / ".complete").exists():
            (folder / ".complete").touch()  # used now
            return python
        interpreter = self._interpreter(environment.python)
        with self._locked(environment.digest):
            if (folder / ".complete").exists():
                return python
            shutil.rmtree(folder, ignore_errors=True)
            self._uv("venv", "--quiet", "--python", str(interpreter), str(folder), what="a virtual environment")
            lock = folder / "lock.txt"
            lock.write_text(environment.lock)
            if environment.lock.strip():
                self._uv(
                    *("pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock)),
                    what=f"environment {environment.digest[:7]}",
                )
            (folder / ".complete").touch()
        return python

    def interpreters(self) -> dict[str, Path]:
        """Give the CPython interpreters found."""
        return find_interpreters(self._settings.environ, self._root / "interpreters.json")

    def built(self) -> dict[str, BuiltEnvironment]:
        """Give the environments that are built here; files shared with others by hard links count as nothing."""
        marks = sorted(self._root.glob("*/.complete"))
        return {
            mark.parent.name: BuiltEnvironment(
                python=mark.parent / "bin" / "python", size_bytes=_own_bytes(mark.parent), used_at=mark.stat().st_mtime
            )
            for mark in marks
        }

    def remove(self, digest: str) -> None:
        """Take a built environment away, its mark of completion first: what is half gone is not trusted."""
        with self._locked(digest):
            (self._root / digest / ".complete").unlink(missing_ok=True)
            shutil.rmtree(self._root / digest, ignore_errors=True)

    def machine(self, python: Path, environ: Mapping[str, str]) -> Machine:
        """Tell what numbers are computed with."""
        return read_machine(python, environ)

    def _interpreter(self, python: str) -> Path:
        found = self.interpreters()
        if python not in found:
            raise Invalid(
                f"there is no Python {python} on this machine (found: {', '.join(found)}). Install it, or ask for another: "
                "'environment: {python: …}' in tournant.yaml"
            )
        return found[python]

    def _compile(self, python: str, interpreter: Path, requirements: str) -> str:
        arguments = ("--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--python", str(interpreter))
        output = self._uv(
            "pip", "compile", *arguments, "-", what=f"the requirements for Python {python}", stdin=requirements
        )
        if "://" in output:
            raise Invalid(
                "the requirements name an address, which another machine may not reach: name packages and versions "
                f"({next(line for line in output.splitlines() if '://' in line).strip()})"
            )
        return output

    def _uv(self, *arguments: str, what: str, stdin: str = "") -> str:
        done = subprocess.run(
            [self._tool, "--no-config", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environ,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        reason = "\n".join(done.stderr.strip().splitlines()[-12:])
        offline = any(word in done.stderr for word in ("error sending request", "dns error", "Failed to fetch"))
        kind = Unavailable if offline else Invalid
        raise kind(f"uv cannot make {what}:\n{reason}")

    @cached_property
    def _tool(self) -> str:
        import uv

        return str(uv.find_uv_bin())

    @cached_property
    def _environ(self) -> dict[str, str]:
        environ = self._settings.child_environ({"UV_PYTHON_DOWNLOADS": "never"})
        for pip, ours in _PIP_TO_UV.items():
            value = environ.get(pip, "")
            if value and ours not in environ and ("://" in value or Path(value).exists()):
                environ[ours] = value
        return environ

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / f".{digest}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _own_bytes(folder: Path) -> int:
    stats = (path.lstat() for path in folder.rglob("*"))
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def _digest(python: str, text: str) -> str:
    return blake3(f"{python}\n{text}".encode()).hexdigest()
