"""A bundle holds all that verifies its version in an empty home, and nothing that was changed on the way gets in."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.compute.local import LocalExecutor
from tournant.adapters.keys import HomeKeys
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.domain.verification import Verdict
from tournant.errors import Conflict, Invalid
from tournant.services.bundles import export_bundle, import_bundle
from tournant.services.context import Context
from tournant.services.pipelines import run_project
from tournant.services.registry import get_version
from tournant.services.signing import check_signature, sign_version
from tournant.services.verification import list_verifications, verify_version

PROJECT = """\
project: mean
environment: {requirements: requirements.txt}
data: {rows: rows.txt}
params: {scale: 2}
pipeline:
  old: {run: 'echo old > old.txt', outs: [old.txt]}
  train: {run: python train.py, deps: [rows.txt, old.txt], params: [scale], outs: [model]}
model: {path: model, flavor: python, predict: predict}
"""
TRAIN = """\
import json, os, pathlib, pickle, shutil, sys
rows = list(map(float, open("rows.txt").read().split()))
folder = pathlib.Path("model")
folder.mkdir()
shutil.copy("constant.py", folder)
from constant import Constant
value = json.load(open(os.environ["TOURNANT_PARAMS"]))["scale"] * sum(rows) / len(rows)
(folder / "model.pkl").write_bytes(pickle.dumps(Constant(value)))
(folder / "input_example.json").write_text('[{"x": 1.0}]')
"""
CONSTANT = """\
class Constant:
    def __init__(self, value):
        self.value = value

    def predict(self, rows):
        return [self.value for _ in rows]
"""


@pytest.fixture
def bundle(context: Context, tmp_path: Path) -> Path:
    """Train, freeze a step, verify and sign, and give the bundle of the version."""
    folder = tmp_path / "mean"
    folder.mkdir()
    for name, text in {
        "tournant.yaml": PROJECT,
        "train.py": TRAIN,
        "constant.py": CONSTANT,
        "rows.txt": "1 2 3",
        "requirements.txt": "",
    }.items():
        (folder / name).write_text(text)
    run_project(context, folder)
    (folder / "tournant.yaml").write_text(PROJECT.replace("old: {", "old: {frozen: true, "))
    version = run_project(context, folder, tags={"why": "frozen"}).model_version
    assert version
    verify_version(context, version.id)
    sign_version(context, version.id)
    export_bundle(context, version.id, tmp_path / "mean.tar")
    shutil.rmtree(folder)
    return tmp_path / "mean.tar"


@pytest.fixture
def elsewhere(context: Context, sqlite_template: Path, tmp_path: Path) -> Iterator[Context]:
    """Give an empty home on another machine."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    shutil.copyfile(sqlite_template, home / "metadata.db")
    engine = create_engine(f"sqlite:///{home / 'metadata.db'}")
    settings = replace(context.settings, home=home)
    yield replace(
        context,
        settings=settings,
        transactions=SqlTransactions(engine),
        blobs=LocalBlobStore(home / "blobs"),
        executor=LocalExecutor(home / "jobs", settings),
        keys=HomeKeys(home / "keys"),
    )
    engine.dispose()


def test_a_version_is_verified_elsewhere_from_its_bundle_alone(
    context: Context, elsewhere: Context, bundle: Path
) -> None:
    """Recreated there to the last bit, with what a frozen step had made; its signature holds under the old home's key."""
    shutil.rmtree(context.settings.home / "blobs")
    imported = import_bundle(elsewhere, bundle)
    assert verify_version(elsewhere, imported.version.id).verdict is Verdict.IDENTICAL
    public = imported.keys["models"].encode()
    assert check_signature(elsewhere, imported.version.id, public=public).holds
    assert not check_signature(elsewhere, imported.version.id).holds  # the new home's own key has not signed
    assert [found.verdict for found in list_verifications(elsewhere, imported.version.id)] == [Verdict.IDENTICAL] * 2


def test_a_bundle_comes_in_once(context: Context, elsewhere: Context, bundle: Path) -> None:
    """The same again changes nothing; another version of the same name is refused."""
    imported = import_bundle(elsewhere, bundle)
    assert import_bundle(elsewhere, bundle) == imported
    version = get_version(elsewhere, imported.version.id)
    with elsewhere.transactions.begin() as uow:
        uow.save(replace(version, flavor="onnx"))
    with pytest.raises(Conflict, match=r"this home has another mean@2"):
        import_bundle(elsewhere, bundle)


def changed(bundle: Path, part: str, content: bytes) -> Path:
    """Give a copy of a bundle with one file's content replaced."""
    target = bundle.with_name("changed.tar")
    with tarfile.open(bundle) as old, tarfile.open(target, "w") as new:
        for entry in old:
            file = old.extractfile(entry) if entry.isfile() else None
            data = content if entry.name.endswith(part) else file.read() if file else b""
            entry.size = len(data) if file else 0
            new.addfile(entry, io.BytesIO(data) if file else None)
    return target


@pytest.mark.parametrize("part", ["train.py", "rows.txt", "model.pkl"])
def test_a_changed_bundle_does_not_get_in(elsewhere: Context, bundle: Path, part: str) -> None:
    """Each content is what its digest says, or nothing is taken."""
    with pytest.raises(Invalid, match="was changed: what it has as"):
        import_bundle(elsewhere, changed(bundle, part, b"x"))
    with pytest.raises(Exception, match="no model"):
        get_version(elsewhere, "mean@2")


def test_what_is_no_bundle_is_refused(elsewhere: Context, bundle: Path, tmp_path: Path) -> None:
    """A file that is none, half of one, and one without records."""
    (tmp_path / "nonsense").write_text("nonsense")
    (tmp_path / "half").write_bytes(bundle.read_bytes()[:2000])
    for path in (tmp_path / "nonsense", tmp_path / "half", changed(bundle, "bundle.json", b"{}")):
        with pytest.raises(Invalid, match="is no bundle, or not a whole one"):
            import_bundle(elsewhere, path)
