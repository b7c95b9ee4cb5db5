"""Reading `tournant.yaml`: what it means, and what is said of each mistake."""

from pathlib import Path

import pytest

from tournant.domain.deployment import DeploymentConfig, LabelConfig
from tournant.domain.pipeline import ModelSpec, Step
from tournant.domain.retraining import RetrainingPolicy
from tournant.errors import Invalid, NotFound
from tournant.services.projects import load_project

DAY = 86_400.0

SMALL = """\
project: churn
environment: {requirements: requirements.txt}
data: {customers: data/customers.csv}
params: {depth: 3, rate: 1e-4}
pipeline:
  prepare: {run: python prepare.py, deps: [data/customers.csv], outs: [build/train.csv]}
  train: {run: python train.py --fast, deps: [build/train.csv], params: [depth], outs: [model/], metrics: [metrics.json]}
model: {label: churned}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a project's folder with the files that `SMALL` speaks of."""
    (tmp_path / "data").mkdir()
    for name in ("prepare.py", "train.py", "requirements.txt", "data/customers.csv"):
        (tmp_path / name).touch()
    return tmp_path


def errors_of(folder: Path, text: str) -> list[str]:
    """Give the lines of the error that a file gives rise to."""
    (folder / "tournant.yaml").write_text(text)
    with pytest.raises(Invalid) as caught:
        load_project(folder)
    lines = caught.value.message.splitlines()
    assert caught.value.place == ":".join(lines[len(lines) > 1].split(":")[:2])
    return lines[1:] if len(lines) > 1 else lines


def test_a_small_file_means_a_whole_project(folder: Path) -> None:
    """What is not said has sensible defaults; a script is a dep of the step that runs it."""
    (folder / "tournant.yaml").write_text(SMALL)
    project = load_project(folder)
    assert project.name == "churn"
    assert project.params == {"depth": 3, "rate": 1e-4}
    assert project.steps == (
        Step(
            name="prepare",
            run="python prepare.py",
            deps=("data/customers.csv", "prepare.py"),
            outs=("build/train.csv",),
        ),
        Step(
            name="train",
            run="python train.py --fast",
            deps=("build/train.csv", "train.py"),
            params=("depth",),
            outs=("model",),
            metrics=("metrics.json",),
        ),
    )
    assert project.model == ModelSpec(name="churn", path="model", label="churned")


def test_deployment_settings_map_onto_their_records(folder: Path) -> None:
    """Durations become seconds, the only dataset and the model's label are taken where none is named."""
    section = """\
deployments:
  plain:
  full:
    slo: {p99_ms: 50}
    labels: {delay: 1d, maturity: 36h}
    rollout: {canary: [10, 50], hold: 90s, shadow_hold: 0}
    monitors: {average_run_length: 100, window: 3}
    retraining: {schedule: 4w, budget: {retrainings: 2, every: 1d}, gate: {units: 7, alpha: 0.2}}
"""
    (folder / "tournant.yaml").write_text(SMALL + section)
    deployments = load_project(folder).deployments
    assert deployments["plain"] == DeploymentConfig(labels=LabelConfig(column="churned"))
    full = deployments["full"]
    assert (full.slo_p99_ms, full.labels.delay_seconds, full.labels.maturity_seconds) == (50.0, DAY, 1.5 * DAY)
    assert (full.rollout.canary_percents, full.rollout.hold_seconds) == ((10.0, 50.0), 90.0)
    assert (full.monitors.average_run_length, full.monitors.window) == (100.0, 3)
    assert isinstance(full.monitors.average_run_length, float)
    assert full.retraining == RetrainingPolicy(
        dataset="customers",
        schedule_seconds=28 * DAY,
        budget=2,
        budget_seconds=DAY,
        gate_units=7,
        gate_alpha=0.2,
    )


def test_python_versions_need_no_quotes(folder: Path) -> None:
    """3.10 is a version, not the number 3.1."""
    (folder / "tournant.yaml").write_text("project: p\nenvironment: {python: 3.10}\n")
    environment = load_project(folder).environment
    assert environment
    assert environment.python == "3.10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "project: p\nenvironmnet: {}\n",
            "tournant.yaml:2: the file: unknown key 'environmnet'; did you mean 'environment'?",
        ),
        (
            "project: p\npipeline:\n  a:\n    run: x\n    dependencies: [y]\n",
            "tournant.yaml:5: pipeline.a: unknown key 'dependencies' (known: run, deps, params, outs, metrics, plots, env, resources, foreach, matrix, "
            "frozen, retries, timeout)",
        ),
        ("project: p\npipeline: {a: {run: [x]}}\n", "tournant.yaml:2: pipeline.a.run: expected text, found a list"),
        ("project: p\npipeline: {a: {run: 3}}\n", "tournant.yaml:2: pipeline.a.run: expected text, found 3"),
        ("project: p\npipeline:\n  a: {}\n", "tournant.yaml:3: pipeline.a: 'run' is missing: expected text"),
        (
            "pipeline: {}\n",
            "tournant.yaml:1: the file: 'project' is missing: expected a name of letters, digits, '_', '-' and '.'",
        ),
        ("", "tournant.yaml:1: the file: 'project' is missing: expected a name of letters, digits, '_', '-' and '.'"),
        ("- a\n", "tournant.yaml:1: the file: expected a section of `key: value`, found a list"),
        ("project: p\nproject: q\n", "tournant.yaml:2: 'project' stands here a second time (first in line 1)"),
        ("project: p\nparams: {a: [1}\n", "tournant.yaml:2: this is not YAML: expected ',' or ']', but got '}'"),
        ("project: p\nx: &a [*a]\n", "tournant.yaml:2: this file is too large or refers to itself"),
        (
            "project: p\nenvironment: {python: '2.7'}\n",
            "tournant.yaml:2: environment.python: expected a Python version such as \"3.11\", found '2.7'",
        ),
        (
            "project: p\nenvironment: {requirements: req.txt}\n",
            "tournant.yaml:2: environment.requirements: there is no file 'req.txt'",
        ),
        (
            "project: p\ndata: {d: data/none.csv}\n",
            "tournant.yaml:2: data.d: there is no file or folder 'data/none.csv'",
        ),
        (
            "project: p\ndata: {d: ../d.csv}\n",
            "tournant.yaml:2: data.d: expected a path inside the project's folder, such as data/train.csv, found '../d.csv'",
        ),
        (
            "project: p\npipeline:\n  a: {run: x, outs: [build/train.csv]}\n  b:\n    run: x\n    deps:\n    - build/trian.csv\n",
            "tournant.yaml:7: pipeline.b: there is no file 'build/trian.csv', and no step makes it; did you mean 'build/train.csv'?",
        ),
        (
            "project: p\npipeline:\n  a: {run: x, deps: [y], outs: [x]}\n  b: {run: x, deps: [x], outs: [y]}\n",
            "tournant.yaml:3: pipeline: the steps a → b → a wait for each other in a circle; take one of the deps out",
        ),
        (
            "project: p\npipeline:\n  a: {run: x, outs: [o]}\n  b: {run: x, outs: [o/x]}\n",
            "tournant.yaml:4: pipeline.b: out 'o/x' belongs to step 'a' already ('o')",
        ),
        (
            "project: p\ndata: {d: train.py}\npipeline: {a: {run: x, metrics: [train.py]}}\n",
            "tournant.yaml:3: pipeline.a: out 'train.py' belongs to dataset 'd' already ('train.py')",
        ),
        (
            "project: p\nparams: {depth: 1}\npipeline: {a: {run: x, params: [dept]}}\n",
            "tournant.yaml:3: pipeline.a: unknown param 'dept'; did you mean 'depth'?",
        ),
        (
            "project: p\nmodel: {path: modle}\npipeline: {a: {run: x, outs: [model]}}\n",
            "tournant.yaml:2: model.path: there is no file 'modle', and no step makes it; did you mean 'model'?",
        ),
        (
            "project: p\ndeployments: {d: {labels: {delay: 1 day}}}\n",
            "tournant.yaml:2: deployments.d.labels.delay: expected a duration such as 90s, 15m, 6h, 1d or 2w, found '1 day'",
        ),
        (
            "project: p\ndeployments: {d: {labels: {delay: 30}}}\n",
            "tournant.yaml:2: deployments.d.labels.delay: expected a duration such as 90s, 15m, 6h, 1d or 2w, found 30",
        ),
        (
            "project: p\ndeployments: {d: {monitors: {metric: logloss}}}\n",
            "tournant.yaml:2: deployments.d.monitors.metric: expected one of log_loss, brier, error_rate, squared_error, absolute_error, "
            "found 'logloss'; did you mean 'log_loss'?",
        ),
        (
            "project: p\ndeployments: {d: {rollout: {canary: [50, 5]}}}\n",
            "tournant.yaml:2: deployments.d.rollout: canary weights are percents that rise from step to step, not [50.0, 5.0]",
        ),
        (
            "project: p\ndeployments: {d: {rollout: {alpha: 1}}}\n",
            "tournant.yaml:2: deployments.d.rollout.alpha: expected a number above 0 and below 1, found 1",
        ),
        (
            "project: p\ndata: {d: data, e: train.py}\ndeployments: {d: {retraining: {dataset: f}}}\n",
            "tournant.yaml:3: deployments.d.retraining: unknown dataset 'f' (datasets: d, e)",
        ),
        (
            "project: p\ndata: {d: data}\ndeployments: {d: {retraining: {window: sliding}}}\n",
            "tournant.yaml:3: deployments.d.retraining: a sliding window needs 'window_length'",
        ),
        (
            "project: p\ndata: {d: data}\ndeployments: {d: {retraining: {}, log: {hash: [user]}}}\n",
            "tournant.yaml:3: deployments.d.log: retraining learns from the log, which would lack user: hide none, or do not retrain",
        ),
        (
            "project: p\ndeployments: {d: {rollout: {slices: [user]}, log: {drop: [user]}}}\n",
            "tournant.yaml:2: deployments.d.log: rollout.slices judges by 'user', which 'drop' leaves out: 'hash' keeps it apart",
        ),
        (
            "project: p\ndeployments: {d: {log: {drop: [user], hash: [user]}}}\n",
            "tournant.yaml:2: deployments.d.log: 'user' is in both 'drop' and 'hash'",
        ),
        (
            "project: p\ndeployments: {d: {log: {sample: 0}}}\n",
            "tournant.yaml:2: deployments.d.log.sample: expected a number above 0 and at most 1, found 0",
        ),
        (
            "project: a b\n",
            "tournant.yaml:1: project: expected a name of letters, digits, '_', '-' and '.', found 'a b'",
        ),
        ("project: p\ndata: {a/b: data}\n", "tournant.yaml:2: data.a/b: a name is letters, digits, '_', '-' and '.'"),
    ],
)
def test_each_mistake_is_told_with_its_line(folder: Path, text: str, expected: str) -> None:
    """What, expected, found, and what was probably meant."""
    assert errors_of(folder, text) == [expected]


def test_all_mistakes_are_told_together(folder: Path) -> None:
    """One reading, every error, in the order of the file."""
    text = "project: 3\npipeline:\n  a: {run: x, outs: model}\nmodle: {}\ndeployments: {d: {slo: {p99_ms: fast}}}\n"
    assert errors_of(folder, text) == [
        "tournant.yaml:1: project: expected a name of letters, digits, '_', '-' and '.', found 3",
        "tournant.yaml:3: pipeline.a.outs: expected a list, found 'model'",
        "tournant.yaml:4: the file: unknown key 'modle'; did you mean 'model'?",
        "tournant.yaml:5: deployments.d.slo.p99_ms: expected a number above 0, found 'fast'",
    ]


def test_requirements_are_read_with_what_they_include(folder: Path) -> None:
    """A file that includes others, in circles even, is one text; a path of this machine cannot be locked."""
    (folder / "requirements.txt").write_text("numpy\n-r more/base.txt\n")
    (folder / "more").mkdir()
    (folder / "more" / "base.txt").write_text("scipy\n-r base.txt\n")
    (folder / "tournant.yaml").write_text(SMALL)
    environment = load_project(folder).environment
    assert environment
    assert environment.text == "numpy\nscipy\n-r base.txt\n"
    (folder / "requirements.txt").write_text("numpy\n-e .\n")
    assert errors_of(folder, SMALL) == [
        "tournant.yaml:2: environment.requirements: '-e .' in requirements.txt is a path of this machine; "
        "name a package with a version"
    ]


def test_a_dataset_may_be_provided_later(folder: Path) -> None:
    """A code snapshot has no data in it; what will be checked out need not be there."""
    (folder / "tournant.yaml").write_text("project: p\ndata: {d: data/none.csv}\n")
    assert load_project(folder, provided={"d"}).data == {"d": "data/none.csv"}


def test_a_folder_without_a_project_says_how_to_start_one(tmp_path: Path) -> None:
    """The error names the folder and the command."""
    with pytest.raises(NotFound, match="tournant init"):
        load_project(tmp_path)
