"""Peers, each in an environment of its own under build/peers."""

import os
import subprocess
import sys
from pathlib import Path

import uv

ROOT = Path("build/peers")


def environment(name: str, *requirements: str) -> Path:
    """Give the interpreter of a peer's environment, building it the first time."""
    folder = (ROOT / name).resolve()
    python, marker = folder / "bin" / "python", folder / ".complete"
    if marker.exists() and marker.read_text() == "\n".join(requirements):
        return python
    tool, environ = uv.find_uv_bin(), {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([tool, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True, env=environ)
    install = [tool, "pip", "install", "-q", "--compile-bytecode", "--python", str(python)]  # as ours is
    subprocess.run([*install, *requirements], check=True, env=environ)
    marker.write_text("\n".join(requirements))
    return python
