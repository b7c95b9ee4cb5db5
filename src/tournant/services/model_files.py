"""Model folders and bare model files: which file is the model, of which flavor, and what a pickle tells of its needs.

A pickle is code, so nothing here loads one: what is wanted stands in its bytes.
"""

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tournant.errors import Invalid
from tournant.services.native_models import native_format

__all__ = ["ModelFolder", "flavor_of", "open_model_folder", "read_example", "requirements_of"]

EXAMPLE = "input_example.json"
_PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")
_ENTRIES = tuple(f"model{suffix}" for suffix in (*_PICKLES, ".onnx"))
# what pickle (protocols 2 to 5) writes for this key: its memo, then the value's opcode and length
_SKLEARN_VERSION = re.compile(rb"_sklearn_version(?:\x94|q.|r....)?(?:[\x8cU](.)|X(.)\0\0\0)", re.DOTALL)
_DECOMPRESSORS: Sequence[tuple[bytes, Callable[[bytes], bytes]]] = (
    (b"\x78", zlib.decompress),
    (b"\x1f\x8b", gzip.decompress),
    (b"BZ", bz2.decompress),
    (b"\xfd7zXZ", lzma.decompress),
)
# the module a pickle names, and the distribution it comes in
_PACKAGES = {
    "sklearn": "scikit-learn",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "joblib": "joblib",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "torch": "torch",
    "statsmodels": "statsmodels",
    "imblearn": "imbalanced-learn",
    "category_encoders": "category-encoders",
    "cloudpickle": "cloudpickle",
}
_COMMON = frozenset({"numpy", "scipy", "joblib", "pandas"})  # resolved to fit the others when not installed here


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A folder with a model in it. `example` are rows of named input columns, none if it has no example."""

    path: Path
    entry: str
    flavor: str
    example: tuple[Mapping[str, object], ...] = ()


def open_model_folder(path: Path, *, entry: str = "", flavor: str = "", example: Path | None = None) -> ModelFolder:
    """Look at a model folder; Invalid when it is not clear which file is the model, or the example is no list of rows."""
    entry = entry or _find_entry(path)
    if not (path / entry).is_file():
        raise Invalid(f"the model folder {path} has no file {entry!r} (it has: {_listing(path)})", place="model.entry")
    example = example or (path / EXAMPLE if (path / EXAMPLE).is_file() else None)
    return ModelFolder(
        path=path,
        entry=entry,
        flavor=flavor or flavor_of(path / entry),
        example=read_example(example) if example else (),
    )


def _find_entry(path: Path) -> str:
    files = sorted(file.name for file in path.iterdir() if file.suffix in (*_PICKLES, ".onnx"))
    chosen = next((name for name in _ENTRIES if name in files), files[0] if len(files) == 1 else "")
    if chosen:
        return chosen
    several = (
        f"several files that may be the model: {', '.join(files)}" if files else f"no model file: {_listing(path)}"
    )
    raise Invalid(f"the model folder {path} has {several}; name it as `entry` in `model:`", place="model.entry")


def flavor_of(path: Path) -> str:
    """Tell a model file's flavor: `onnx`, a library's own, `sklearn` (by what stands in the pickle) or `python`."""
    if path.suffix == ".onnx":
        return "onnx"
    if path.suffix == ".py":
        return "python"
    return "sklearn" if b"sklearn" in _content(path) else "python"


def read_example(path: Path) -> tuple[Mapping[str, object], ...]:
    """Read input rows from JSON: a list of objects, or one object."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise Invalid(f"the input example {path} cannot be read as JSON: {exc}", place="model.input_example") from exc
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise Invalid(
            f'the input example {path} must be a list of rows such as [{{"column": 1.0}}]', place="model.input_example"
        )
    return tuple(rows)


def requirements_of(path: Path) -> str:
    """Give the requirements of a model file: scikit-learn as the pickle says, other packages as installed here.

    Invalid when something it needs can be told neither way.
    """
    if path.suffix == ".py":
        raise Invalid(f"{path.name} does not tell what it needs; say it: --requirements requirements.txt")
    native = native_format(path)
    if native:
        if "" in native.requirements:
            raise Invalid(
                f"{path.name} does not tell which version of {native.name} it needs; say it: --requirements requirements.txt"
            )
        return "\n".join(native.requirements) + "\n"
    content = _content(path)
    needed = {module: name for module, name in _PACKAGES.items() if _names(content, module)}
    stored = _sklearn_version(content)
    pins = {"scikit-learn": stored} if stored else {}
    if b"xgboost.sklearn" in content or b"lightgbm.sklearn" in content:
        needed["sklearn"] = "scikit-learn"
    if "sklearn" in needed:
        needed["joblib"] = "joblib"
        if b"feature_names_in_" in content or b"ColumnTransformer" in content:
            needed["pandas"] = "pandas"
    lines, unknown = [], []
    for name in sorted(set(needed.values())):
        version = pins.get(name) or _installed(name)
        if version:
            lines.append(f"{name}=={version}" if not (pins and name in _COMMON) else _loosely(name, content))
        elif name in _COMMON:
            lines.append(_loosely(name, content))
        else:
            unknown.append(name)
    if unknown or not lines:
        what = f"{', '.join(unknown)}, whose version it does not tell" if unknown else "packages it does not tell"
        raise Invalid(f"{path.name} needs {what}; say what it was made with: --requirements requirements.txt")
    return "\n".join(lines) + "\n"


def _sklearn_version(content: bytes) -> str:
    found = _SKLEARN_VERSION.search(content)
    if found is None:
        return ""
    length = ord(found.group(1) or found.group(2))
    return content[found.end() : found.end() + length].decode(errors="replace")


def _loosely(name: str, content: bytes) -> str:
    """Leave the version to what scikit-learn allows; only the two numpy generations do not read each other's pickles."""
    if name != "numpy":
        return name
    return "numpy>=2" if b"numpy._core" in content else "numpy<2" if b"numpy.core" in content else name


def _names(content: bytes, module: str) -> bool:
    name = re.escape(module.encode())
    return re.search(rb"(?:\x8c.|X...\x00|c|\n)" + name + rb"[.\n\x94q\x8c]", content, re.S) is not None


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _content(path: Path) -> bytes:
    """Give a pickle's bytes, uncompressed (joblib compresses in four ways)."""
    content = path.read_bytes()
    for magic, decompress in _DECOMPRESSORS:
        if content.startswith(magic):
            try:
                return decompress(content)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return content
    return content


def _listing(path: Path) -> str:
    return ", ".join(sorted(file.name for file in path.iterdir())[:10]) or "nothing"
