"""Schemathesis over the OpenAPI document: whatever is asked, no answer is a 500. It runs in an environment of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import peers

import webhouse
from control_plane import Server
from tournant.bootstrap.house import open_context
from tournant.config import Settings

pytestmark = pytest.mark.slow

# Identifiers of the house, without which most operations are only asked for what is not there.
KNOWN = """
[parameters]
"path.name" = "fraud"
"path.alias" = "champion"
"path.key" = "logloss"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A control plane with thirty days of four deployments in it."""
    webhouse.furnish(open_context(Settings.load(home=tmp_path / "home")).transactions)
    server = Server(tmp_path / "home")
    server.start()
    yield server
    server.end()


@pytest.mark.parametrize("config", ["", KNOWN], ids=["anything", "what is there"])
def test_no_answer_is_an_error_of_the_server(server: Server, tmp_path: Path, config: str) -> None:
    """Every operation, with values on and off the schema, and in sequences of calls."""
    python = peers.environment("schemathesis", "schemathesis==4.32.5")
    (tmp_path / "schemathesis.toml").write_text(config)
    command = [str(python.parent / "schemathesis"), "run", f"{server.url}/api/openapi.json", "--no-color"]
    options = ["--checks", "not_a_server_error", "--max-examples", "10", "--seed", "1"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
