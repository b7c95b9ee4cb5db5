"""How MLflow's file store keeps records: a `meta.yaml` in a folder of its own, and a file for each tag or param."""

from pathlib import Path
from typing import Any

import yaml

from tournant.errors import Invalid

__all__ = ["META", "folders", "read_meta", "read_texts"]

META = "meta.yaml"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is


def folders(folder: Path) -> list[Path]:
    """Give the folders in a folder by name; none where there is no such folder."""
    return sorted(found for found in folder.iterdir() if found.is_dir()) if folder.is_dir() else []


def read_meta(folder: Path) -> dict[str, Any]:
    """Read a folder's `meta.yaml`."""
    try:
        meta = yaml.load((folder / META).read_bytes(), _LOADER)  # noqa: S506 # both loaders are safe ones
    except yaml.YAMLError as exc:
        raise Invalid(f"{folder / META} is damaged: {str(exc).splitlines()[0]}") from exc
    if not isinstance(meta, dict):
        raise Invalid(f"{folder / META} is damaged: it is empty, or no mapping")
    return meta


def read_texts(folder: Path) -> dict[str, str]:
    """Read the files below a folder as texts by key; a key with slashes stands in folders."""
    if not folder.is_dir():
        return {}
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes().decode(errors="backslashreplace") for file in files}
