"""What is installed where a Python interpreter is, as requirements."""

import json
import subprocess
from pathlib import Path

from tournant.errors import Invalid
from tournant.services.context import Context

__all__ = ["read_installed"]

_ASK = (
    "import json, sys\n"
    "from importlib.metadata import distributions\n"
    "found = {d.metadata['Name']: (d.version, d.read_text('direct_url.json')) for d in distributions() if d.metadata['Name']}\n"
    "print(json.dumps({'python': '%d.%d' % sys.version_info[:2], 'packages': found}))"
)
_TOOLS = frozenset({"pip", "setuptools", "wheel"})  # what a virtual environment has by itself
_SECONDS = 60.0


def read_installed(ctx: Context, interpreter: Path) -> tuple[str, str]:
    """Give the `major.minor` of an interpreter and its packages as exact requirements.

    Packages that were installed from a folder or an address cannot be had elsewhere: Invalid names them.
    """
    command = [str(interpreter), "-I", "-c", _ASK]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_SECONDS, env=ctx.settings.child_environ()
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise Invalid(f"{interpreter} is no Python that tells its packages: {exc}", place="source") from exc
    packages = {name: told for name, told in answer["packages"].items() if name.lower() not in _TOOLS}
    direct = sorted(name for name, (_, url) in packages.items() if url)
    if direct:
        raise Invalid(
            f"{', '.join(direct)} was installed from a folder or an address, which another machine may not reach: "
            "name packages with versions in a requirements file",
            place="source",
        )
    lines = sorted(f"{name}=={version}" for name, (version, _) in packages.items())
    return answer["python"], "".join(f"{line}\n" for line in lines)
