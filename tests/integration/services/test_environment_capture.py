"""Environments: captured from whatever states them, found, compared and collected."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.domain.deployment import Revision, RevisionState
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context
from tournant.services.environments import gc_environments, list_environments, lock_requirements, resolve_environment
from tournant.services.installed import read_installed
from tournant.services.model_files import ModelFolder
from tournant.services.registry import register_model
from tournant.services.requirements import read_requirements

UV_LOCK = """\
version = 1
[[package]]
name = "own-project"
version = "0.1.0"
source = { virtual = "." }
[[package]]
name = "joblib"
version = "1.4.2"
source = { registry = "somewhere" }
[[package]]
name = "numpy"
version = "1.26.4"
source = { registry = "somewhere" }
resolution-markers = ["python_full_version < '3.12'", "sys_platform == 'win32'"]
"""
SOURCES = {
    "requirements.txt": ("joblib==1.4.2\n-r more.txt\n", "joblib==1.4.2\nnumpy\n"),
    "pyproject.toml": (
        "[project]\nname='x'\ndependencies=['joblib==1.4.2', 'numpy>=2']\n",
        "joblib==1.4.2\nnumpy>=2\n",
    ),
    "uv.lock": (
        UV_LOCK,
        "joblib==1.4.2\nnumpy==1.26.4 ; (python_full_version < '3.12') or (sys_platform == 'win32')\n",
    ),
    "environment.yml": (
        "dependencies:\n- python=3.11\n- pip:\n  - joblib==1.4.2\n  - numpy\n",
        "joblib==1.4.2\nnumpy\n",
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_requirements_are_read_from_what_states_them(tmp_path: Path, name: str) -> None:
    """Each format says the same: names and versions, one a line."""
    (tmp_path / "more.txt").write_text("numpy\n")
    text, expected = SOURCES[name]
    (tmp_path / name).write_text(text)
    assert read_requirements(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pyproject.toml", "[tool.x]\n", r"pyproject.toml has no \[project\] section"),
        ("pyproject.toml", "[project\n", "pyproject.toml cannot be read"),
        (
            "environment.yml",
            "dependencies: [python=3.11, numpy]\n",
            "no pip part, and packages of conda itself cannot be",
        ),
        ("environment.yml", "name: x\n", "no list of dependencies"),
    ],
)
def test_what_states_nothing_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    """With what is missing in it."""
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=words):
        read_requirements(tmp_path / name)


def test_what_is_installed_can_be_captured(context: Context, tmp_path: Path) -> None:
    """Exact versions of what another interpreter has; a package from a folder is refused by name."""
    with pytest.raises(Invalid, match="tournant was installed from a folder"):  # an editable install: these tests' own
        read_installed(context, Path(sys.executable))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    assert read_installed(context, python) == (context.settings.platform_python, "")
    (found,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (found / "made_up-1.2.dist-info").mkdir()
    (found / "made_up-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.2\n")
    assert read_installed(context, python)[1] == "made-up==1.2\n"
    with pytest.raises(Invalid, match="is no Python that tells its packages"):
        read_installed(context, tmp_path / "nothing")


def test_an_environment_is_found_by_its_first_digits_or_a_version(context: Context, tmp_path: Path) -> None:
    """And an error says how to list them."""
    one = lock_requirements(context, python="", requirements="joblib==1.4.2\n")
    other = lock_requirements(context, python="", requirements="joblib==1.4.0\n")
    assert {found.digest for found in list_environments(context)} == {one.digest, other.digest}
    assert resolve_environment(context, one.digest[:9]) == one
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.pkl").write_bytes(b"x")
    folder = ModelFolder(path=tmp_path / "m", entry="model.pkl", flavor="python", example=({"x": 1.0},))
    version = register_model(context, folder, name="m", environment=other)
    assert resolve_environment(context, version.id) == other
    with pytest.raises(NotFound, match="list them: tournant environments list"):
        resolve_environment(context, "ffff0000")


@pytest.mark.slow
def test_gc_takes_what_is_unused_and_not_needed(context: Context, tmp_path: Path) -> None:
    """What a revision in use needs stays, and what was asked for lately; all that goes can be built again."""
    environments = UvEnvironments(Settings(home=context.settings.home, environ=dict(os.environ)))
    ctx = replace(context, environments=environments)
    locked = [lock_requirements(ctx, python="", requirements=f"joblib==1.4.{patch}\n") for patch in (0, 2)]
    pythons = [environments.build(environment) for environment in locked]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.pkl").write_bytes(b"x")
    folder = ModelFolder(path=tmp_path / "m", entry="model.pkl", flavor="python", example=({"x": 1.0},))
    version = register_model(ctx, folder, name="m", environment=locked[0])
    revision = Revision(
        id="d/1", deployment="d", number=1, model_version=version.id, state=RevisionState.STABLE, created_at=0.0
    )
    with ctx.transactions.begin() as uow:
        uow.add(revision)
    assert gc_environments(ctx, unused_seconds=3600) == {}
    long_ago = time.time() - 7200
    for python in pythons:
        os.utime(python.parent.parent / ".complete", (long_ago, long_ago))
    assert list(gc_environments(ctx, unused_seconds=3600, dry_run=True)) == [locked[1].digest]
    assert pythons[1].exists()
    assert list(gc_environments(ctx, unused_seconds=3600)) == [locked[1].digest]
    assert [python.exists() for python in pythons] == [True, False]
    assert list(environments.built()) == [locked[0].digest]
    assert environments.build(locked[1]).exists()
