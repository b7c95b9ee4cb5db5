"""Finds the CPython interpreters of this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["VERSIONS", "find_interpreters"]

VERSIONS = tuple(f"3.{minor}" for minor in range(8, 14))
_ASK = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)"
_SECONDS = 10.0


def find_interpreters(environ: Mapping[str, str], cache: Path) -> dict[str, Path]:
    """Give `major.minor` to interpreter for each CPython found on PATH, in pyenv's and uv's folders and beside our own.

    Each candidate is asked once what it is (a shim may be anything) and remembered in `cache` by its modification time.
    """
    known = _read(cache)
    asked: dict[str, list[str]] = {}
    found: dict[str, Path] = {f"{sys.version_info.major}.{sys.version_info.minor}": Path(_own())}
    for candidate in _candidates(environ):
        stamp = f"{candidate}:{candidate.stat().st_mtime_ns}"
        asked[stamp] = known.get(stamp) or _ask(candidate)
        version, executable = asked[stamp]
        if version in VERSIONS and Path(executable).exists():
            found.setdefault(version, Path(executable))
    if asked != known:
        _write(cache, asked)
    return dict(sorted(found.items(), key=lambda item: int(item[0].partition(".")[2])))


def _own() -> str:
    return str(getattr(sys, "_base_executable", sys.executable))


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME", "/"))
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(environ.get("PYENV_ROOT", home / ".pyenv"))
    folders += sorted(pyenv.glob("versions/*/bin"), reverse=True)
    folders += sorted(home.glob(".local/share/uv/python/*/bin"), reverse=True)
    folders += [Path("/usr/local/bin"), Path("/usr/bin")]
    names = [f"python{version}" for version in VERSIONS] + ["python3"]
    seen = set()
    for folder in folders:
        if folder.name == "shims":
            continue
        for name in names:
            path = folder / name
            if path.is_file() and os.access(path, os.X_OK) and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _ask(path: Path) -> list[str]:
    try:
        done = subprocess.run(
            [str(path), "-I", "-S", "-c", _ASK], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        implementation, version, executable = done.stdout.split(maxsplit=2)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ["", ""]
    return [version, executable.strip()] if implementation == "cpython" else ["", ""]


def _read(cache: Path) -> dict[str, list[str]]:
    try:
        content: dict[str, list[str]] = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content


def _write(cache: Path, content: dict[str, list[str]]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_name(f".{cache.name}.{os.getpid()}")
    partial.write_text(json.dumps(content))
    partial.replace(cache)
