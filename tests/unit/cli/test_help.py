"""The command line's shape."""

import subprocess
import sys

import click
import pytest

from tournant.cli import COMMANDS, tournant


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name):
    """Each command that help lists can be imported, and it and its verbs have help."""
    command = tournant.get_command(click.Context(tournant), name)
    assert isinstance(command, click.Command)
    assert command.help
    for verb in getattr(command, "commands", {}).values():
        assert verb.help, f"{name} {verb.name}"


def test_help_loads_nothing_heavy():
    """`tournant --help` imports neither SQLAlchemy nor httpx, DuckDB, numpy or onnxruntime."""
    code = (
        "import sys\nsys.argv = ['tournant', '--help']\nfrom tournant.cli import main\n"
        "try:\n    main()\nexcept SystemExit as exc:\n    assert not exc.code\n"
        "heavy = {'sqlalchemy', 'httpx', 'duckdb', 'numpy', 'onnxruntime', 'rich', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rollouts" in done.stdout
