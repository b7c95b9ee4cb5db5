"""Model files that libraries write in formats of their own: what they are by their bytes, what they need, and what loads them.

Nothing of them is loaded here. Beside the file comes an entry, `model.py`, which does that in the model's environment.
"""

import re
import zipfile
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

from tournant.errors import Invalid

__all__ = ["ENTRY", "NATIVE_SUFFIXES", "NativeFormat", "add_entry", "native_format"]

ENTRY = "model.py"
NATIVE_SUFFIXES = (".json", ".ubj", ".txt", ".pt", ".pt2", ".pth")
_HEAD_BYTES = 64 << 10
_LAST_BYTES = 4 << 10
# XGBoost ends its JSON with "version":[2,1,4], and Universal Binary JSON with an array of integers of any width
_VERSION_JSON = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]')
_TORCH = "a file of PyTorch's that is neither TorchScript nor an exported program"


class NativeFormat(NamedTuple):
    """What a file is: the library's `name`, the `flavor` and `requirements` of the model (an empty one cannot be told), and the entry's source."""

    name: str
    flavor: str
    requirements: tuple[str, ...]
    source: str


def native_format(path: Path) -> NativeFormat | None:
    """Tell a model file's format; None if its name is none of a library's own, Invalid if its content is not what its name says."""
    read = _READERS.get(path.suffix.lower())
    return read(path) if read else None


def add_entry(folder: Path, found: NativeFormat) -> str:
    """Put the entry that loads the file beside it; give its name."""
    (folder / ENTRY).write_text(found.source, encoding="utf-8")
    return ENTRY


def _xgboost(path: Path) -> NativeFormat:
    head, last = _ends(path)
    if not head.lstrip().startswith(b"{") or b"learner" not in head:
        raise Invalid(f"{path.name} is no model of XGBoost's: expected what its save_model writes", place=path.name)
    version = _xgboost_version(last)
    if path.suffix == ".json" and not last.rstrip().endswith(b"}"):
        raise Invalid(f"{path.name} ends in the middle of a model: is the file whole?", place=path.name)
    pin = f"xgboost=={version}" if version else _as_installed("xgboost")
    return NativeFormat("XGBoost", "sklearn", (pin, "scikit-learn", "pandas", "numpy"), _source("xgboost_file"))


def _xgboost_version(last: bytes) -> str:
    found = _VERSION_JSON.search(last)
    if found:
        return b".".join(found.groups()).decode()
    start = last.rfind(b"version[")
    numbers = _ubjson_integers(last[start + len(b"version[") :], 3) if start >= 0 else []
    return ".".join(map(str, numbers)) if len(numbers) == 3 else ""


def _ubjson_integers(content: bytes, count: int) -> list[int]:
    r"""Read `count` integers of an array of Universal Binary JSON, whose opening bracket is behind us; fewer if it has not as many.

    >>> _ubjson_integers(b"$i#i\x03\x02\x01\x04", 3), _ubjson_integers(b"i\x02I\x00\x01i\x04]", 3)
    ([2, 1, 4], [2, 1, 4])
    """
    widths = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}
    kind = b""
    if content[:1] == b"$":
        kind, content = content[1:2], content[2:]
    if content[:1] == b"#":
        content = content[2 + widths.get(content[1:2], 1) :]
    found: list[int] = []
    while len(found) < count:
        mark = kind
        if not kind:
            mark, content = content[:1], content[1:]
        width = widths.get(mark, 0)
        if not width or len(content) < width:
            return found
        found.append(int.from_bytes(content[:width], "big"))
        content = content[width:]
    return found


def _lightgbm(path: Path) -> NativeFormat:
    head, last = _ends(path)
    if not head.startswith(b"tree"):
        raise Invalid(
            f"{path.name} is no model of LightGBM's: expected what its save_model writes, a text that begins with 'tree'",
            place=path.name,
        )
    if b"end of trees" not in head + last and b"end of trees" not in path.read_bytes():
        raise Invalid(f"{path.name} has no 'end of trees': is the file whole?", place=path.name)
    # The format has a version, the library that wrote it is not told; newer ones read it.
    needs = ("lightgbm>=4", "scikit-learn", "pandas", "numpy")
    return NativeFormat("LightGBM", "sklearn", needs, _source("lightgbm_file"))


def _torch(path: Path) -> NativeFormat:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as exc:
        raise Invalid(f"{path.name} is no file of PyTorch's, or is not whole: {exc}", place=path.name) from exc
    script = any("/code/" in name for name in names)
    exported = any("exported_program" in name or "/models/" in name or "archive_format" in name for name in names)
    if not script and not exported:
        message = f"{path.name} is {_TORCH}: weights alone, or a pickled module. Save the model by torch.jit.script(…).save or torch.export.save"
        raise Invalid(message, place=path.name)
    return NativeFormat("PyTorch", "torch", (_as_installed("torch"), "numpy"), _source("torch_file"))


_READERS: dict[str, Callable[[Path], NativeFormat]] = {
    ".json": _xgboost,
    ".ubj": _xgboost,
    ".txt": _lightgbm,
    ".pt": _torch,
    ".pt2": _torch,
    ".pth": _torch,
}


def _as_installed(name: str) -> str:
    """Pin a library to the version that is installed here; empty where none is."""
    try:
        return f"{name}=={metadata.version(name).partition('+')[0]}"
    except metadata.PackageNotFoundError:
        return ""


def _ends(path: Path) -> tuple[bytes, bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, size - _LAST_BYTES))
        return head, file.read()


def _source(name: str) -> str:
    return resources.files("tournant.services.entries").joinpath(f"{name}.py").read_text(encoding="utf-8")
