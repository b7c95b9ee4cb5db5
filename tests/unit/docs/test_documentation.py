"""The documentation says what is true."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from tournant.cli import tournant

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "scripts" / "write_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands", "operations"])
def test_generated_pages_are_current(page):
    """Run scripts/write_reference.py after changing a command or an operation."""
    assert (ROOT / "docs" / "reference" / f"{page}.md").read_text() == getattr(generator(), f"{page}_page")()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every relative link is to a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def commands_in(page: Path) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("tournant ")]


@pytest.mark.parametrize("page", [page for page in PAGES if commands_in(page)], ids=lambda page: page.name)
def test_commands_in_the_documentation_exist(page):
    """Every command shown parses: its name, verb and options are real."""
    for line in commands_in(page):
        command: click.Command = tournant
        context = click.Context(tournant, info_name="tournant")
        words = shlex.split(line)[1:]
        while isinstance(command, click.Group):
            name = words.pop(0)
            inner = command.get_command(context, name)
            assert inner, f"{line}: there is no {name}"
            command = inner
        known = {option for parameter in command.params for option in getattr(parameter, "opts", ())}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"{line}: {used - known}"


def test_every_variable_is_documented():
    """Each TOURNANT_ variable that the code names stands in the reference."""
    code = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    documented = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert {name for name in re.findall(r'"(TOURNANT_[A-Z_]+)"', code) if name not in documented} == set()
