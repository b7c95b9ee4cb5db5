"""Tells what numbers are computed with in an environment: asks its libraries, without importing them."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from tournant.domain.machine import Machine, is_numeric

__all__ = ["read_machine"]

PROBE = Path(__file__).with_name("machine_probe.py")
_SECONDS = 20.0


def read_machine(python: Path, environ: Mapping[str, str]) -> Machine:
    """Ask under the interpreter and variables of a step; what cannot be asked is left out."""
    variables = {name: value for name, value in sorted(environ.items()) if is_numeric(name)}
    kernels = _ask(python, tuple(variables.items()), environ.get("PATH", ""))
    libc = " ".join(platform.libc_ver())
    return Machine(
        platform=f"{platform.system()} {platform.machine()}, {libc}".rstrip(", "),
        cpu=_cpu(),
        kernels=dict(kernels),
        variables=variables,
    )


@lru_cache(maxsize=64)  # the steps of a run mostly have one environment and the same variables
def _ask(python: Path, variables: tuple[tuple[str, str], ...], search: str) -> tuple[tuple[str, str], ...]:
    try:
        done = subprocess.run(
            [str(python), "-I", "-S", str(PROBE), str(python)],
            capture_output=True,
            text=True,
            env={"PATH": search, **dict(variables)},
            timeout=_SECONDS,
            check=True,
        )
        kernels: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return tuple(sorted(kernels.items()))


@lru_cache(maxsize=1)
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else os.uname().machine
