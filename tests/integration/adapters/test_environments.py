"""Environments by uv: locked, built, enforced."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.errors import Invalid

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environments(home) -> UvEnvironments:
    return UvEnvironments(Settings.load(home=home))


def test_a_lock_has_hashes_and_names_no_index(environments):
    """What is stored builds anywhere: versions and hashes, no address; the same requirements are the same environment."""
    locked = environments.lock(python="", requirements="joblib==1.4.2\n")
    assert "joblib==1.4.2" in locked.lock
    assert "--hash=sha256:" in locked.lock
    assert "://" not in locked.lock
    assert environments.lock(python="", requirements="joblib==1.4.2\n") == locked


def test_a_built_environment_has_what_was_locked_and_nothing_of_ours(environments):
    """The interpreter given imports the locked package, and no package of the platform."""
    python = environments.build(environments.lock(python="", requirements="joblib==1.4.2\n"))
    code = (
        "import joblib, importlib.util as u; print(joblib.__version__, u.find_spec('tournant'), u.find_spec('msgspec'))"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.4.2", "None", "None"]


def test_an_interrupted_build_is_made_again(environments, home):
    """A folder without the mark of completion is not trusted."""
    locked = environments.lock(python="", requirements="joblib==1.4.2\n")
    python = environments.build(locked)
    (home / "environments" / locked.digest / ".complete").unlink()
    python.unlink()
    assert environments.build(locked).exists()


def test_a_missing_interpreter_is_an_error_that_names_those_found(environments):
    """Nothing is downloaded: the error says what there is."""
    with pytest.raises(Invalid, match=r"no Python 3\.7 on this machine \(found: .*3\.\d+"):
        environments.lock(python="3.7", requirements="")


def test_requirements_that_cannot_be_met_are_an_error_with_the_reason(environments):
    """Uv's own reason reaches the person."""
    with pytest.raises(Invalid, match="joblib==0"):
        environments.lock(python="", requirements="joblib==0.0.0.1\n")


def test_another_interpreter_is_used_where_there_is_one(environments):
    """An environment's Python is the one asked for."""
    for version in environments.interpreters():
        python = environments.build(environments.lock(python=version, requirements=""))
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        assert (
            subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
            == version
        )


def test_content_that_is_not_what_the_lock_says_is_refused(environments):
    """A hash that does not fit stops the build, and leaves nothing that passes for complete."""
    locked = environments.lock(python="", requirements="joblib==1.4.2\n")
    tampered = replace(locked, digest="f" * 64, lock="joblib==1.4.2 --hash=sha256:" + "0" * 64 + "\n")
    for _ in range(2):
        with pytest.raises(Invalid, match=r"[Hh]ash"):
            environments.build(tampered)
