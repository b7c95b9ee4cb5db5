"""What can be told of a model file without loading it."""

import bz2
import gzip
import importlib.util
import json
import lzma
import pickle
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tournant.errors import Invalid
from tournant.services.model_files import flavor_of, open_model_folder, read_example, requirements_of


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Pickle an object of a class in a module of any name, as a library's models are."""

    def pickled(module: str, state: dict[str, object], protocol: int = 4) -> bytes:
        made = types.ModuleType(module)
        kind = type("Model", (), {"__module__": module})
        made.Model = kind  # type: ignore[attr-defined]
        parent = module.partition(".")[0]
        if importlib.util.find_spec(parent) is None:
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, module, made)
        instance = kind()
        instance.__dict__.update(state)
        return pickle.dumps(instance, protocol=protocol)

    return pickled


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("version", ["0.24.2", "1.3", "1.6.0rc1"])
@pytest.mark.parametrize(
    "compress", [bytes, zlib.compress, gzip.compress, bz2.compress, lzma.compress], ids=lambda f: f.__module__
)
def test_the_scikit_learn_version_is_read_from_the_pickle(
    tmp_path: Path, pickled: Callable[..., bytes], protocol: int, version: str, compress: Callable[[bytes], bytes]
) -> None:
    """Whatever the protocol and joblib's compression."""
    path = tmp_path / "model.pkl"
    state = {"feature_names_in_": ["a"], "_sklearn_version": version}
    path.write_bytes(compress(pickled("sklearn.linear_model", state, protocol)))
    assert flavor_of(path) == "sklearn"
    assert requirements_of(path).splitlines() == ["joblib", "pandas", f"scikit-learn=={version}"]


def test_other_packages_are_those_installed_here(tmp_path: Path, pickled: Callable[..., bytes]) -> None:
    """Where the pickle says nothing, this interpreter's versions are the best guess."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickled("numpy.polynomial.fake", {}))
    assert flavor_of(path) == "python"
    assert requirements_of(path).startswith("numpy==")


@pytest.mark.parametrize(
    ("module", "expected"), [("xgboost.sklearn", "xgboost, whose version it does not tell"), ("mine", "does not tell")]
)
def test_what_cannot_be_told_must_be_said(
    tmp_path: Path, pickled: Callable[..., bytes], module: str, expected: str
) -> None:
    """The error says which option to use."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickled(module, {}))
    with pytest.raises(Invalid, match=f"{expected}.*--requirements"):
        requirements_of(path)


@pytest.mark.parametrize(
    ("files", "entry"),
    [(["model.pkl", "other.pkl"], "model.pkl"), (["best.joblib", "notes.txt"], "best.joblib"), (["m.onnx"], "m.onnx")],
)
def test_the_entry_is_found_by_its_name(tmp_path: Path, files: list[str], entry: str) -> None:
    """model.*, or the only file that can be it."""
    for name in files:
        (tmp_path / name).touch()
    assert open_model_folder(tmp_path).entry == entry


@pytest.mark.parametrize(
    ("files", "expected"),
    [(["a.pkl", "b.pkl"], "may be the model: a.pkl, b.pkl"), (["a.txt"], "no model file: a.txt"), ([], "nothing")],
)
def test_an_unclear_entry_is_refused(tmp_path: Path, files: list[str], expected: str) -> None:
    """The error says what is there and where to name it."""
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(Invalid, match=expected):
        open_model_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", "[{}]", '"x"'])
def test_an_example_is_a_list_of_rows(tmp_path: Path, text: str) -> None:
    """Anything else is refused, with how it should look."""
    path = tmp_path / "input_example.json"
    path.write_text(text)
    with pytest.raises(Invalid, match="input example"):
        read_example(path)
    path.write_text(json.dumps({"x": 1}))
    assert read_example(path) == ({"x": 1},)
