"""The published schema and its reference page."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_reference_is_the_schema() -> None:
    """If not: python scripts/write_project_reference.py."""
    written = runpy.run_path(str(ROOT / "scripts" / "write_project_reference.py"))["contents"]()
    assert {name: (ROOT / "docs" / "reference" / name).read_text() for name in written} == written
