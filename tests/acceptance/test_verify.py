"""Six real learners are trained, verified, and changed in one way at a time: the verdict names exactly that way.

The PyTorch case needs a CPU build that uv can find (as `torch==VERSION+cpu`, in a folder that PIP_FIND_LINKS or UV_FIND_LINKS names):
the registry's own Linux builds come with gigabytes of CUDA, so where there is none the case is skipped and says so.
"""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tournant.bootstrap.house import open_context
from tournant.config import Settings
from tournant.domain.verification import Cause, Verdict, Verification
from tournant.services.context import Context
from tournant.services.pipelines import run_project
from tournant.services.verification import verify_version

pytestmark = pytest.mark.slow

PROJECT = """\
project: {name}
environment: {{python: "3.11", requirements: requirements.txt}}
data: {{rows: data/rows.csv}}
params: {{learner: {name}, strength: 0.5}}
pipeline:
  train: {{run: python train.py, deps: [learners.py, data/rows.csv], params: [learner, strength], outs: [model], metrics: [metrics.json]}}
model: {{path: model, flavor: python, predict: predict_proba}}
"""
TRAIN = """\
import csv, json, os, pathlib
import numpy
from learners import make_learner
params = json.loads(pathlib.Path(os.environ["TOURNANT_PARAMS"]).read_text())
table = list(csv.reader(open("data/rows.csv")))
rows = numpy.array(table[1:], dtype=float)
order = numpy.random.default_rng(3).permutation(len(rows))[:450]
x, y = rows[order, :-1], rows[order, -1].astype(int)
learner = make_learner(params["learner"], params["strength"])
learner.fit(x, y)
pathlib.Path("model").mkdir()
learner.save("model") if hasattr(learner, "save") else __import__("joblib").dump(learner, "model/model.pkl")
example = [dict(zip(table[0][:-1], rows[0, :-1].tolist()))]
pathlib.Path("model/input_example.json").write_text(json.dumps(example))
accuracy = float((learner.predict_proba(x).argmax(axis=1) == y).mean())
json.dump({"accuracy": accuracy}, open("metrics.json", "w"))
"""
LEARNERS = """\
import os
THREADS = int(os.environ["OMP_NUM_THREADS"])
SEED = 1

def make_learner(name, strength):
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression
        return LogisticRegression(C=strength)
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier
        return RandomForestClassifier(20, max_features=strength, n_jobs=THREADS, random_state=SEED)
    if name == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier
        return HistGradientBoostingClassifier(max_iter=20, learning_rate=strength, random_state=SEED)
    if name == "xgboost":
        from xgboost import XGBClassifier
        return XGBClassifier(n_estimators=20, subsample=0.8, learning_rate=strength, n_jobs=THREADS, random_state=SEED)
    if name == "lightgbm":
        from lightgbm import LGBMClassifier
        return LGBMClassifier(n_estimators=20, learning_rate=strength, n_jobs=THREADS, random_state=SEED, verbose=-1)
    from network import Network
    return Network(strength, SEED, THREADS)
"""
NETWORK = """\
import pickle, shutil, sys

class Network:
    def __init__(self, strength, seed, threads):
        self.strength, self.seed, self.threads = strength, seed, threads

    def fit(self, x, y):
        import torch
        torch.set_num_threads(self.threads)
        if self.seed is not None:
            torch.manual_seed(self.seed)
        x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
        net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 256), torch.nn.Tanh(), torch.nn.Linear(256, 2))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1 * self.strength, momentum=0.9)
        for _ in range(60):
            optimizer.zero_grad()
            hidden = net[1](net[0](x))
            penalty = 1 + hidden.square().mean()  # of more numbers than one thread sums up
            (torch.nn.functional.cross_entropy(net[2](hidden), y) * penalty).backward()
            optimizer.step()
        self.weights = [parameter.detach().numpy() for parameter in net.parameters()]

    def predict_proba(self, x):
        import numpy
        first, bias, second, last = [weight.astype(float) for weight in self.weights]
        scores = numpy.tanh(x @ first.T + bias) @ second.T + last
        scores = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def save(self, folder):
        shutil.copy("network.py", folder)
        with open(f"{folder}/model.pkl", "wb") as file:
            pickle.dump(self, file)
"""
TABULAR = "joblib==1.4.2\nlightgbm==4.6.0\nnumpy==1.26.4\nscikit-learn==1.3.2\nscipy==1.11.4\nxgboost-cpu==2.1.4\n"
LEARNER_NAMES = ("logistic", "forest", "boosting", "xgboost", "lightgbm", "torch")
# What is raised or lowered, so that this package alone is another one.
PACKAGES = {
    **dict.fromkeys(("logistic", "forest", "boosting"), ("scikit-learn", "1.3.2", "1.4.2")),
    "xgboost": ("xgboost-cpu", "2.1.4", "3.0.5"),
    "lightgbm": ("lightgbm", "4.6.0", "4.5.0"),
    "torch": ("numpy", "2.3.4", "2.3.3"),  # there is one CPU build of PyTorch here
}
CHANGES = {
    "code": Cause.CODE,
    "data": Cause.DATA,
    "params": Cause.PARAMS,
    "package": Cause.ENVIRONMENT,
    "threads": Cause.THREADS,
    "kernel": Cause.KERNEL,
    "seed": Cause.SEED,
}
# Where the change must show in the predictions; elsewhere the learner may not care (trees know no BLAS), and the verdict is
# identical, with the change named as one that makes no matter.
MUST_DIFFER = {(name, change) for name in LEARNER_NAMES for change in ("code", "data", "params", "seed")}
MUST_SHOW = {
    ("logistic", "kernel"),
    ("logistic", "package"),  # its objective is scaled otherwise since scikit-learn 1.4
    ("torch", "kernel"),
    ("torch", "threads"),
    ("xgboost", "package"),
}


@dataclass
class Learner:
    """A project with one version, and what verifying it in every way has said."""

    name: str
    version: str
    verified: dict[str, Future[Verification]]


class Workshop:
    """One home, where the learners' projects are trained and verified, two at a time."""

    def __init__(self, root: Path, pool: ThreadPoolExecutor) -> None:
        self.root, self.pool = root, pool
        self.ctx = self.open()

    def open(self, **variables: str) -> Context:
        """Open the home, with more environment variables."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "ATEN_"))}
        return open_context(Settings(home=self.root / "home", environ={**environ, **variables}))

    def train(self, name: str, folder: str, *changes: Callable[[Path], None]) -> tuple[Path, str]:
        """Write a project and run it."""
        path = self.write(name, folder, *changes)
        version = run_project(self.ctx, path).model_version
        assert version
        return path, version.id

    def write(self, name: str, folder: str, *changes: Callable[[Path], None]) -> Path:
        """Write a project."""
        path = self.root / name / folder
        (path / "data").mkdir(parents=True)
        (path / "tournant.yaml").write_text(PROJECT.format(name=name))
        (path / "train.py").write_text(TRAIN)
        (path / "learners.py").write_text(LEARNERS)
        (path / "network.py").write_text(NETWORK)
        (path / "requirements.txt").write_text(self.requirements(name))
        (path / "data" / "rows.csv").write_text(rows())
        for change in changes:
            change(path)
        return path

    def requirements(self, name: str) -> str:
        """Give a learner's packages."""
        return f"numpy==2.3.4\ntorch=={torch_build()}\n" if name == "torch" else TABULAR

    def verify(self, name: str) -> Learner:
        """Train and verify a learner, unchanged and in every changed way."""
        _, version = self.train(name, "project")
        changed = {
            "code": replace("train.py", "[:450]", "[:300]"),
            "data": replace("data/rows.csv", rows().splitlines()[5], "9.0,-9.0,9.0,-9.0,9.0,-9.0,1"),
            "params": replace("tournant.yaml", "strength: 0.5", "strength: 0.3"),
            "package": replace(
                "requirements.txt", "{}=={}".format(*PACKAGES[name]), "{0}=={2}".format(*PACKAGES[name])
            ),
        }
        ask = self.pool.submit
        verified = {"none": ask(verify_version, self.ctx, version)}
        for kind, change in changed.items():
            verified[kind] = ask(verify_version, self.ctx, version, project=self.write(name, kind, change))
        verified["threads"] = ask(verify_version, self.ctx, version, threads=2)
        kernel = self.open(OPENBLAS_CORETYPE="Nehalem", ATEN_CPU_CAPABILITY="default")
        verified["kernel"] = ask(verify_version, kernel, version)
        verified["seed"] = ask(self.verify_unseeded, name)
        return Learner(name, version, verified)

    def verify_unseeded(self, name: str) -> Verification:
        """Train without a seed, and verify that version."""
        unseeded = (
            replace("train.py", "default_rng(3)", "default_rng()"),
            replace("learners.py", "SEED = 1", "SEED = None"),
        )
        _, version = self.train(name, "unseeded", *unseeded)
        return verify_version(self.ctx, version)


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Change one text in one file."""

    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        (folder / path).write_text(text.replace(old, new))

    return change


def rows() -> str:
    """Make a table whose label follows from its columns, not quite."""
    state, lines = 12345, ["a,b,c,d,e,f,label"]
    for _ in range(600):
        values = []
        for _ in range(7):
            state = (1103515245 * state + 12345) % 2**31
            values.append(state / 2**30 - 1)
        label = int(values[0] + values[1] * values[2] + 0.5 * values[6] > 0)
        lines.append(",".join([*(f"{value:.6f}" for value in values[:6]), str(label)]))
    return "\n".join(lines) + "\n"


def torch_build() -> str:
    """Find the version of a CPU build of PyTorch in a folder of wheels that pip or uv was told of; empty without one."""
    folders = (
        " ".join(os.environ.get(name, "") for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS")).replace(",", " ").split()
    )
    wheels = [
        path.name
        for folder in folders
        if Path(folder).is_dir()
        for path in Path(folder).glob("torch-*+cpu-cp311-*.whl")
    ]
    found = re.match(r"torch-([^-]+)-", max(wheels, default=""))
    return found[1] if found else ""


@pytest.fixture(scope="module")
def learners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Learner]]:
    """Give a learner, trained and being verified in every way: each once, two verifications at a time."""
    known: dict[str, Learner] = {}
    with ThreadPoolExecutor(2) as pool:
        workshop = Workshop(tmp_path_factory.mktemp("verify"), pool)

        def get(name: str) -> Learner:
            if name == "torch" and not torch_build():
                pytest.skip("no CPU build of PyTorch that uv could find: see this module's docstring")
            if name not in known:
                known[name] = workshop.verify(name)
            return known[name]

        yield get


@pytest.mark.parametrize("name", LEARNER_NAMES)
def test_what_was_not_changed_is_the_same(learners: Callable[[str], Learner], name: str) -> None:
    """The record alone recreates the version, to the last bit or within the tolerance."""
    found = learners(name).verified["none"].result()
    assert found.verdict in (Verdict.IDENTICAL, Verdict.EQUIVALENT), found.summary
    assert found.rows > 400
    assert found.changed == ()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", LEARNER_NAMES)
def test_one_change_is_named_exactly(learners: Callable[[str], Learner], name: str, change: str) -> None:
    """Its cause and no other; where it does not show in the predictions, as one that makes no matter."""
    found = learners(name).verified[change].result()
    named = found.causes if found.verdict is not Verdict.IDENTICAL else found.changed
    assert {difference.cause for difference in named} == {CHANGES[change]}, found.summary
    if (name, change) in MUST_DIFFER:
        assert found.verdict is Verdict.DIFFERENT
    if (name, change) in MUST_SHOW:
        assert found.verdict is not Verdict.IDENTICAL
    if found.verdict is not Verdict.IDENTICAL:
        assert found.changed == ()
        assert found.confirmed
    if change == "package":
        package, before, after = PACKAGES[name]
        assert [difference.summary for difference in named] == [f"{package} {before} → {after}"]
