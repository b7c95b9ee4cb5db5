"""The project file's content: data, steps, model, tests, deployments; and how steps follow from each other.

Paths are relative to the project's folder, in POSIX form.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from tournant.domain.deployment import DeploymentConfig

__all__ = [
    "EnvironmentSpec",
    "ModelSpec",
    "Project",
    "Step",
    "TestSpec",
    "cache_key",
    "find_cycle",
    "flatten_metrics",
    "in_order",
    "overlaps",
    "producers",
    "upstream",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What the project needs to run: Python `major.minor` (empty: the platform's) and a requirements file with its text."""

    python: str = ""
    requirements: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command with what it reads and makes. `metrics` and `plots` are files, outs like the others; `threads` bounds its libraries.

    A `frozen` step is not run: what it made before is taken. One that fails is run `retries` more times; one that takes longer
    than `timeout_seconds` (0: no bound) fails. `defined_as` is its name in the file, which several may share, and `source` its
    command there, before params were put in.
    """

    name: str
    run: str
    deps: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    frozen: bool = False
    retries: int = 0
    timeout_seconds: float = 0.0
    defined_as: str = field(default="", compare=False)
    source: str = field(default="", compare=False)

    @property
    def products(self) -> tuple[str, ...]:
        """All paths the step makes."""
        return (*self.outs, *self.metrics, *self.plots)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What the pipeline registers. Empty fields are found out: the entry by its name, method and example by the model."""

    name: str
    path: str = "model"
    flavor: str = ""
    entry: str = ""
    predict: str = ""
    input_example: str = ""
    reference: str = ""
    label: str = ""
    time: str = ""
    tolerance: float = 1e-4
    protected_aliases: tuple[str, ...] | None = None  # those that take an approval; None: as the registry has it


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSpec:
    """A command that passes a model with exit code 0; `TOURNANT_MODEL` names the model's folder."""

    __test__ = False  # says to pytest that this is none of its tests

    name: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A whole `tournant.yaml`. `steps` stand in an order in which they can run."""

    name: str
    environment: EnvironmentSpec | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    params_files: tuple[str, ...] = ()
    step_cache: str = ""  # the remote whose step cache is shared; empty: none
    steps: tuple[Step, ...] = ()
    model: ModelSpec | None = None
    tests: tuple[TestSpec, ...] = ()
    deployments: Mapping[str, DeploymentConfig] = field(default_factory=dict)

    @property
    def products(self) -> tuple[str, ...]:
        """All paths that steps make."""
        return tuple(path for step in self.steps for path in step.products)


def overlaps(a: str, b: str) -> bool:
    """Tell whether two paths are the same, or one is inside the other.

    >>> overlaps("model", "model/model.pkl"), overlaps("model", "models")
    (True, False)
    """
    return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")


def producers(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Give the names of the steps each step waits for: those that make what it depends on.

    >>> producers([Step(name="a", run="", outs=("x",)), Step(name="b", run="", deps=("x/y",))])
    {'a': (), 'b': ('a',)}
    """
    return {
        step.name: tuple(
            other.name for other in steps if any(overlaps(dep, made) for dep in step.deps for made in other.products)
        )
        for step in steps
    }


def find_cycle(steps: Sequence[Step]) -> tuple[str, ...]:
    """Give the steps of a cycle, each followed by one that waits for it and the first again; empty if there is none.

    >>> find_cycle([Step(name="a", run="", deps=("y",), outs=("x",)), Step(name="b", run="", deps=("x",), outs=("y",))])
    ('a', 'b', 'a')
    """
    try:
        TopologicalSorter(producers(steps)).prepare()
    except CycleError as exc:
        return tuple(exc.args[1])
    return ()


def in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Sort steps so that each stands after those it waits for, otherwise in the order given; there is no cycle.

    >>> [step.name for step in in_order([Step(name="b", run="", deps=("x",)), Step(name="a", run="", outs=("x",))])]
    ['a', 'b']
    """
    waits = producers(steps)
    ordered: dict[str, Step] = {}
    while len(ordered) < len(steps):
        ready = [s for s in steps if s.name not in ordered and all(name in ordered for name in waits[s.name])]
        ordered[ready[0].name] = ready[0]
    return tuple(ordered.values())


def upstream(steps: Sequence[Step], names: Iterable[str]) -> frozenset[str]:
    """Give the named steps and all they need, directly or not."""
    waits = producers(steps)
    needed: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed.add(name)
            open_names.extend(waits[name])
    return frozenset(needed)


def cache_key(step: Step, *, params: Mapping[str, object], deps: Mapping[str, str], environment: str) -> str:
    """Give the digest of all that determines what a step makes: 64 hexadecimal digits.

    `params` are the values of the step's own params, `deps` the digests of what it reads by path, `environment` its digest.
    """
    content = {
        "version": 1,  # raise it when what steps are given changes
        "run": step.run,
        "params": dict(params),
        "deps": dict(deps),
        "environment": environment,
        "outs": sorted(step.outs),
        "metrics": sorted(step.metrics),
        "env": dict(step.env),
        "threads": step.threads,
        **({"plots": sorted(step.plots)} if step.plots else {}),
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=32).hexdigest()


def flatten_metrics(content: object, prefix: str = "") -> dict[str, float]:
    """Give the numbers of a metrics file by dotted key; anything that is no number is left out.

    >>> flatten_metrics({"auroc": 0.7, "test": {"rows": 10, "ok": True}, "note": "x"})
    {'auroc': 0.7, 'test.rows': 10.0, 'test.ok': 1.0}
    """
    if isinstance(content, Mapping):
        parts = (flatten_metrics(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in content.items())
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(content, int | float) and prefix:
        return {prefix: float(content)}
    return {}
