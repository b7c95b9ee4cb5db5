"""Writes `docs/reference/commands.md` and `operations.md` from the commands and the table of operations.

python scripts/write_reference.py
"""

from pathlib import Path

import click

from tournant.api.table import OPERATIONS
from tournant.cli import tournant

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def commands_page() -> str:
    """Give every command's help."""
    parts = ["# Commands", "", "Made from the commands' own help by `scripts/write_reference.py`.", ""]
    root = click.Context(tournant, info_name="tournant", **tournant.context_settings)
    for name in tournant.list_commands(root):
        command = tournant.get_command(root, name)
        assert command is not None
        parts += _help(command, click.Context(command, info_name=name, parent=root), "##")
    return "\n".join(parts)


def _help(command: click.Command, context: click.Context, level: str) -> list[str]:
    context.max_content_width = 100
    parts = [f"{level} {context.command_path}", "", "```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for verb, inner in command.commands.items():
            parts += _help(inner, click.Context(inner, info_name=verb, parent=context), level + "#")
    return parts


def operations_page() -> str:
    """Give every operation with its address and fields."""
    parts = [
        "# Operations",
        "",
        "The same operations over HTTP (`/api` on the control plane, described in full at `/api/openapi.json`) and in Python",
        "(`tournant.Client().NOUN.VERB(field=value)`). Fields in the path come from there, the others from the query (GET) or the",
        'JSON body. Errors are `{"error": {"code", "message", "place"}}`. Made by `scripts/write_reference.py`.',
        "",
        "| operation | HTTP | fields | what |",
        "|---|---|---|---|",
    ]
    for operation in OPERATIONS:
        fields = ", ".join(f"`{name}`" for name in operation.request.__struct_fields__) or "–"
        parts.append(
            f"| `{operation.name}` | `{operation.method} /api{operation.path}` | {fields} | {operation.summary} |"
        )
    return "\n".join([*parts, ""])


if __name__ == "__main__":
    (REFERENCE / "commands.md").write_text(commands_page())
    (REFERENCE / "operations.md").write_text(operations_page())
