"""What runs are searched for: a condition over metrics, params, tags, attributes and datasets, and an order."""

from dataclasses import dataclass
from enum import StrEnum

from tournant.domain.tracking import RunStatus

__all__ = [
    "STATUS_NAMES",
    "All",
    "Any",
    "Comparison",
    "Condition",
    "Entity",
    "HistoryQuery",
    "Ordering",
    "RunQuery",
    "View",
]

STATUS_NAMES = {  # as MLflow calls them, and filters know both
    RunStatus.PENDING: "SCHEDULED",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.SUCCESSFUL: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "KILLED",
}


class Entity(StrEnum):
    """What a comparison looks at."""

    METRIC = "metric"
    PARAM = "parameter"
    TAG = "tag"
    ATTRIBUTE = "attribute"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One comparison. `operator` is =, !=, <, <=, >, >=, LIKE, ILIKE, IN, NOT IN, IS NULL or IS NOT NULL."""

    entity: Entity
    key: str
    operator: str
    value: str | float | tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; without parts it always does."""

    parts: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple["Condition", ...]


Condition = Comparison | All | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """A key to order by; NaN comes after every number, and what a run does not have comes last, either way."""

    entity: Entity
    key: str
    descending: bool = False


class View(StrEnum):
    """Whether deleted runs are seen."""

    ACTIVE = "active"
    DELETED = "deleted"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """A search over the runs of experiments (None: of all). Ties are broken by start, the newest first, then by id.

    `after` is the start and id of a run: only those that come after it, the newest first, are found.
    """

    experiments: tuple[int, ...] | None = None
    condition: Condition = All()
    order: tuple[Ordering, ...] = ()
    view: View = View.ACTIVE
    limit: int = 50
    offset: int = 0
    after: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """The points of one metric of some runs, by run, then time, step and value.

    With `samples`, at most so many steps of each run, evenly spread, and always each run's first and last one; the same
    steps are taken of every run that has them, so that curves can be laid over each other.
    """

    runs: tuple[str, ...]
    key: str
    first_step: int | None = None
    last_step: int | None = None
    limit: int | None = None
    offset: int = 0
    samples: int | None = None
