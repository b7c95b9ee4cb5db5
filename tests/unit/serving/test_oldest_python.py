"""What runs in models' environments is read by CPython 3.8, the oldest that a model may bring."""

import ast
from pathlib import Path

import pytest

import tournant

SOURCE = Path(tournant.__file__).parent
GUESTS = [
    SOURCE / "serving" / "worker.py",
    SOURCE / "conversion" / "inside.py",
    SOURCE / "adapters" / "environments" / "machine_probe.py",
    *(SOURCE / "services" / "entries").glob("*_file.py"),
]


@pytest.mark.parametrize("path", GUESTS, ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_8(path):
    """Nothing newer, and nothing of tournant."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in named if name.partition(".")[0] == "tournant"]


def test_they_are_all_there():
    """A file that was renamed is none that passes."""
    assert len(GUESTS) == 6
    assert all(path.is_file() for path in GUESTS)
