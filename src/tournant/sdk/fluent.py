"""Logging from a training script, by the names and with the meaning of MLflow's fluent functions.

Inside a step of `tournant run` the run exists already (TOURNANT_RUN_ID) and is logged to; elsewhere `start_run` makes one. Where it
goes is chosen as the command line chooses it: TOURNANT_URL, or the home in TOURNANT_HOME or ./.tournant.

A call takes about a microsecond: it is sent in the background. Nothing is lost when the script ends, fails or is told to end
(SIGTERM); while the server is down, all waits on disk (TOURNANT_JOURNAL) and is sent later, by whatever logs next.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat

from tournant.config import Settings
from tournant.errors import Conflict, Invalid, NotFound
from tournant.sdk.recording.journal import Call
from tournant.sdk.recording.process import LoggingProcess
from tournant.sdk.recording.recorder import Point

__all__ = [
    "ActiveRun",
    "active_run",
    "end_run",
    "flush",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "log_text",
    "set_experiment",
    "set_tag",
    "set_tags",
    "start_run",
]

FLUSH_SECONDS = 60.0


@dataclass(eq=False, slots=True)
class ActiveRun:
    """A run that is logged to; as a context manager it ends with its block, failed if that raises."""

    id: str
    name: str = ""  # empty while the server that gives it has not answered
    experiment: str = ""
    kept: bool = False  # it is somebody else's to end
    params: dict[str, str] = field(default_factory=dict)

    @property
    def info(self) -> "RunInfo":
        """The same under MLflow's names."""
        return RunInfo(run_id=self.id, run_name=self.name)

    def __enter__(self) -> "ActiveRun":
        """Give the run."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        _process.end(self, "FAILED" if kind else "FINISHED", error)
        if not kind:
            _raise_refused()


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What MLflow's scripts ask of a run."""

    run_id: str
    run_name: str


_process: LoggingProcess[ActiveRun] = LoggingProcess()
_experiment = ""  # of runs that are started from now on


def start_run(
    run_id: str | None = None,
    experiment_id: int | str | None = None,
    run_name: str | None = None,
    nested: bool = False,  # noqa: FBT001, FBT002 - as MLflow has it
    parent_run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    *,
    experiment: str = "",
) -> ActiveRun:
    """Begin a run, or go on with the one of `run_id`; Conflict when one is active and this one is not `nested`.

    Its experiment is named by number or name; else it is that of `set_experiment`, or Default.
    """
    active = active_run()
    if active and not nested:
        raise Conflict(
            f"run {active.name or active.id} is active already: end it (tournant.end_run()), or start this one with nested=True"
        )
    recorder = _process.recorder()
    environ = Settings.load().environ
    existing = run_id or (environ.get("TOURNANT_RUN_ID") if not active else None)
    if existing:
        found = recorder.call("runs.get", {"id": existing})
        if found is None:
            raise NotFound(f"run {existing} cannot be gone on with: the server does not answer")
        run = ActiveRun(existing, found["run"]["name"], found["run"]["experiment"], kept=not run_id)
        run.params.update(found["run"]["params"])
    else:
        given = {**(tags or {})}
        parent = parent_run_id or (active.id if active else None)
        if parent:
            given["mlflow.parentRunId"] = parent
        if description:
            given["mlflow.note.content"] = description
        values: dict[str, object] = {"id": _new_id(), "started_at": time.time(), "tags": given}
        if run_name:
            values["name"] = run_name
        if experiment_id is not None:
            values["experiment_number"] = int(experiment_id)
        elif experiment or _experiment:
            values["experiment"] = experiment or _experiment
        made = recorder.call("runs.create", values) or {}
        run = ActiveRun(str(values["id"]), made.get("name", run_name or ""), made.get("experiment", experiment))
    _process.begin(run)
    return run


def end_run(status: str = "FINISHED") -> None:
    """End the active run, as FINISHED, FAILED or KILLED; nothing happens when none is. What was refused of it is raised here."""
    run = active_run()
    if run:
        _process.end(run, status, None)
        _raise_refused()


def active_run() -> ActiveRun | None:
    """Give the run that this thread logs to: its own newest one, else the process's."""
    own = _process.own()
    if own:
        return own[-1]
    return _process.runs[-1] if _process.runs else None


def set_experiment(name: str) -> None:
    """Let runs that are started from now on be of this experiment."""
    global _experiment
    _experiment = name


def log_metric(
    key: str,
    value: SupportsFloat,
    step: int | None = None,
    synchronous: bool | None = None,  # noqa: FBT001 - as MLflow has it
    timestamp: int | None = None,
    run_id: str | None = None,
) -> None:
    """Log a metric's value, at a step (0) and time (now; in milliseconds); a run is started if none is active.

    `synchronous` waits until it is kept.
    """
    if key.__class__ is not str:
        raise Invalid(f"a metric's key is text, not {key!r}", place="key")
    run = run_id or _active_id()
    _process.recorder().put(
        Point(run, key, float(value), step or 0, time.time() if timestamp is None else timestamp / 1e3)
    )
    if synchronous:
        flush()


def log_metrics(
    metrics: Mapping[str, SupportsFloat],
    step: int | None = None,
    synchronous: bool | None = None,  # noqa: FBT001 - as MLflow has it
    run_id: str | None = None,
    timestamp: int | None = None,
) -> None:
    """Log several metrics' values at one step and time."""
    at = int(time.time() * 1e3) if timestamp is None else timestamp
    for key, value in metrics.items():
        log_metric(key, value, step, None, at, run_id)
    if synchronous:
        flush()


def log_param(key: str, value: object) -> object:
    """Log a param, and give its value; Conflict when it has another one already."""
    log_params({key: value})
    return value


def log_params(params: Mapping[str, object]) -> None:
    """Log several params."""
    run, texts = _required(), {str(key): str(value) for key, value in params.items()}
    for key, value in texts.items():
        if run.params.setdefault(key, value) != value:
            raise Conflict(
                f"param {key!r} of run {run.name or run.id} is {run.params[key]!r} already, and what a run was given does not change",
                place=key,
            )
    _process.recorder().put(Call("runs.log", {"id": run.id, "params": texts}))


def set_tag(key: str, value: object) -> None:
    """Set a tag."""
    set_tags({key: value})


def set_tags(tags: Mapping[str, object]) -> None:
    """Set several tags."""
    texts = {str(key): str(value) for key, value in tags.items()}
    _process.recorder().put(Call("runs.log", {"id": _required().id, "tags": texts}))


def log_artifact(local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Store a file (or a folder, as a folder of its name) with the run, in the folder `artifact_path`."""
    path = Path(local_path)
    if path.is_dir():
        log_artifacts(path, f"{artifact_path}/{path.name}" if artifact_path else path.name, run_id)
        return
    if not path.is_file():
        raise NotFound(f"there is no file {path}", place="local_path")
    target = f"{artifact_path.strip('/')}/{path.name}" if artifact_path else path.name
    _process.recorder().put_file(run_id or _active_id(), target, path)


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Store all files in a folder with the run."""
    folder = Path(local_dir)
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", place="local_dir")
    for file in sorted(found for found in folder.rglob("*") if found.is_file()):
        inside = "/".join(filter(None, ((artifact_path or "").strip("/"), file.parent.relative_to(folder).as_posix())))
        log_artifact(file, inside.removesuffix("/.").removesuffix(".") or None, run_id)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Store a text as a file of the run."""
    folder, _, name = artifact_file.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="tournant-") as temporary:
        path = Path(temporary) / name
        path.write_text(text, encoding="utf-8")
        log_artifact(path, folder or None, run_id)


def log_dict(dictionary: object, artifact_file: str, run_id: str | None = None) -> None:
    """Store a value as a JSON file of the run."""
    log_text(json.dumps(dictionary, indent=2, default=str), artifact_file, run_id)


def log_model(
    model: object,
    name: str = "model",
    *,
    input_example: Any = None,
    registered_model_name: str | None = None,
    pip_requirements: list[str] | None = None,
    run_id: str | None = None,
) -> str:
    """Store a model with the run as an MLflow model folder, and give its address, which `tournant deploy` takes.

    `pip_requirements` are by default the versions of the packages its pickle names, as installed here. With
    `registered_model_name` it becomes that model's next version.
    """
    from tournant.sdk.model_folder import write_model_folder

    run = run_id or _active_id()
    with tempfile.TemporaryDirectory(prefix="tournant-") as temporary:
        folder = Path(temporary) / "model"
        write_model_folder(folder, model, run=run, name=name, example=input_example, requirements=pip_requirements)
        log_artifacts(folder, name, run)
    address = f"runs:/{run}/{name}"
    if registered_model_name:
        _process.recorder().call("models.register", {"name": registered_model_name, "source": address})
    return address


def flush(timeout_seconds: float = FLUSH_SECONDS) -> bool:
    """Wait until all that was logged is kept; False if the server does not answer in time (then it waits on disk)."""
    return _process.opened is None or _process.opened.flush(timeout_seconds)


def _active_id() -> str:
    run = active_run()
    return run.id if run else start_run().id


def _required() -> ActiveRun:
    return active_run() or start_run()


def _raise_refused() -> None:
    recorder = _process.opened
    if recorder and recorder.refused:
        refused, recorder.refused = recorder.refused, []
        raise refused[0]


def _new_id() -> str:
    return f"{time.time_ns() // 1_000_000:012x}{uuid.uuid4().hex[12:]}"
