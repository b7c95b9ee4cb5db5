"""MLflow's ways of writing times, numbers, statuses and stages, whatever store they stand in."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tournant.domain.logged_models import LoggedModelStatus
from tournant.domain.run_query import STATUS_NAMES
from tournant.domain.tracking import DatasetInput, RunStatus
from tournant.errors import Invalid
from tournant.ports import Unreadable

__all__ = [
    "CONTEXT",
    "DELETED_STAGE",
    "POINTS_PER_PAGE",
    "PROMPT",
    "RUN_NAME",
    "elsewhere",
    "logged_model_in",
    "number",
    "pairs",
    "read_dataset",
    "read_logged_model_status",
    "read_status",
    "readable",
    "seconds",
    "text",
    "texts",
]

T = TypeVar("T")
RUN_NAME = "mlflow.runName"
CONTEXT = "mlflow.data.context"
PROMPT = "mlflow.prompt.is_prompt"
DELETED_STAGE = "Deleted_Internal"
POINTS_PER_PAGE = 5_000
_LARGEST = 1.7976931348623157e308  # MLflow's database has it for what is infinite
_STATUSES = {name: status for status, name in STATUS_NAMES.items()}
_NUMBERED = dict(enumerate(("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"), start=1))
_LOGGED = {
    "LOGGED_MODEL_PENDING": LoggedModelStatus.PENDING,
    "LOGGED_MODEL_READY": LoggedModelStatus.READY,
    "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelStatus.FAILED,
    "PENDING": LoggedModelStatus.PENDING,
    "READY": LoggedModelStatus.READY,
    "FAILED": LoggedModelStatus.FAILED,
}
_NUMBERED_LOGGED = dict(
    enumerate((LoggedModelStatus.PENDING, LoggedModelStatus.READY, LoggedModelStatus.FAILED), start=1)
)


def readable(noun: str, name: str, read: Callable[[], T]) -> T | Unreadable:
    """Read a record, or say why it cannot be read."""
    try:
        return read()
    except Invalid as exc:
        return Unreadable(noun=noun, name=name, reason=exc.message)
    except (OSError, LookupError, ValueError, TypeError, AttributeError) as exc:
        return Unreadable(noun=noun, name=name, reason=f"it cannot be read: {exc!r}")


def seconds(milliseconds: Any) -> float | None:
    """Give the seconds of MLflow's milliseconds; None stays None.

    >>> seconds("1732500000123"), seconds(None)
    (1732500000.123, None)
    """
    return None if milliseconds is None else int(milliseconds) / 1000


def number(value: Any, *, nan: object = False) -> float:
    """Give a metric's value.

    >>> number("NaN"), number(-1.7976931348623157e308), number(0.0, nan=1)
    (nan, -inf, nan)
    """
    found = float("nan") if nan else float(value)
    if found >= _LARGEST:
        return float("inf")
    return float("-inf") if found <= -_LARGEST else found


def text(value: Any) -> str:
    """Give a text; nothing is an empty one."""
    return "" if value is None else str(value)


def texts(pairs: Mapping[Any, Any]) -> dict[str, str]:
    """Give keys and values as texts."""
    return {str(key): text(value) for key, value in pairs.items()}


def pairs(rows: Iterable[Mapping[str, Any]], *, key: str = "key", value: str = "value") -> dict[str, str]:
    """Give what rows hold as keys and values."""
    return {row[key]: text(row[value]) for row in rows}


def read_dataset(run: str, described: Mapping[str, Any], tags: dict[str, str]) -> DatasetInput:
    """Give a dataset that a run has read; its context is one of the tags of the input."""
    return DatasetInput(
        run=run,
        name=text(described.get("name")),
        digest=text(described.get("digest")),
        source_type=text(described.get("source_type")),
        source=text(described.get("source")),
        schema=text(described.get("schema")),
        profile=text(described.get("profile")),
        context=tags.pop(CONTEXT, ""),
        tags=tags,
    )


def logged_model_in(source: str) -> str:
    """Give the logged model that a version's source names, if it names one.

    >>> logged_model_in("models:/m-0a1b"), logged_model_in("models:/churn/3")
    ('m-0a1b', '')
    """
    return source.removeprefix("models:/") if source.startswith("models:/m-") and source.count("/") == 1 else ""


def elsewhere(noun: str, row: Mapping[str, Any]) -> Unreadable | None:
    """Say that something is of another workspace than the default one, if it is."""
    workspace = text(row.get("workspace"))
    if workspace in ("", "default"):
        return None
    return Unreadable(
        noun=noun, name=str(row["name"]), reason=f"it is in the workspace {workspace}, and tournant has no workspaces"
    )


def read_status(status: Any) -> RunStatus:
    """Give a run's status, which stands as a name or as a number; none is running, as MLflow has it."""
    name = "RUNNING" if status is None else _NUMBERED.get(status, "") if isinstance(status, int) else str(status)
    if name not in _STATUSES:
        raise Invalid(f"its status {status!r} is none that MLflow knows")
    return _STATUSES[name]


def read_logged_model_status(status: Any) -> LoggedModelStatus:
    """Give a logged model's status, which stands as a name or as a number."""
    if isinstance(status, int):
        return _NUMBERED_LOGGED.get(status, LoggedModelStatus.UNSPECIFIED)
    return _LOGGED.get(text(status), LoggedModelStatus.UNSPECIFIED)
