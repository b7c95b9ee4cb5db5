"""Write docs/reference/tournant-yaml.md and tournant.schema.json from the schema: `python scripts/write_project_reference.py`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tournant.services.project_schema import project_schema

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
HEAD = """# tournant.yaml

Every key of the project file. [tournant.schema.json](tournant.schema.json) is the same for editors: put
`# yaml-language-server: $schema=…/tournant.schema.json` in the first line, and they complete and check as you type.
Durations are a number and a unit: `90s`, `15m`, `6h`, `1d`, `2w`. Paths are inside the project's folder.

| key | value | default | meaning |
|---|---|---|---|
"""


def rows(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Give a table row for each key, sections before what is in them."""
    for key, value in schema.get("properties", {}).items():
        yield from row(value, f"{prefix}{key}")
    if isinstance(schema.get("additionalProperties"), Mapping) and schema["additionalProperties"].get("description"):
        yield from row(schema["additionalProperties"], f"{prefix}NAME")


def row(schema: Mapping[str, Any], key: str) -> Iterator[str]:
    """Give one key's row and those inside it."""
    default = json.dumps(schema["default"]) if "default" in schema else ""
    yield f"| `{key}` | {kind(schema)} | {f'`{default}`' if default else ''} | {schema.get('description', '')} |"
    yield from rows(schema, f"{key}.")
    if schema.get("type") == "array":
        yield from rows(schema["items"], f"{key}[].")


def kind(schema: Mapping[str, Any]) -> str:
    """Say what a value is."""
    if "enum" in schema:
        return " or ".join(f"`{option}`" for option in schema["enum"])
    if "duration" in schema.get("expects", ""):
        return "duration"
    if "path" in schema.get("expects", ""):
        return "path"
    types = schema.get("type", "anything")
    names = {
        "object": "section",
        "array": "list",
        "string": "text",
        "integer": "whole number",
        "boolean": "true or false",
    }
    return " or ".join(names.get(name, name) for name in ([types] if isinstance(types, str) else types))


def contents() -> dict[str, str]:
    """Give each file's text."""
    schema = project_schema()
    return {
        "tournant-yaml.md": HEAD + "\n".join(rows(schema, "")) + "\n",
        "tournant.schema.json": json.dumps(schema, indent=2) + "\n",
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in contents().items():
        (FOLDER / name).write_text(text)
