"""What tournant needs of the world, as Protocols; `adapters` implement them, `bootstrap` chooses."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, TypeVar

from tournant.domain.control import Event
from tournant.domain.data import (
    Collection,
    DatasetVersion,
    StoreCheck,
    Transfer,
    Tree,
    TreeChanges,
    TreeSummary,
    Workspace,
)
from tournant.domain.environment import Environment
from tournant.domain.machine import Machine, SharedStep
from tournant.domain.notifications import Message
from tournant.domain.predictions import Label, Segment
from tournant.domain.registry import Conversion, Scalar, Signature
from tournant.domain.run_query import HistoryQuery, RunQuery
from tournant.domain.tables import TableChanges
from tournant.domain.tracking import Metric, Run

if TYPE_CHECKING:  # numpy takes 100 ms, which a command that has nothing to do need not pay
    import numpy.typing as npt

__all__ = [
    "BlobStore",
    "BuiltEnvironment",
    "Clock",
    "Columns",
    "ConversionRequest",
    "EnvironmentBuilder",
    "Executor",
    "Inspection",
    "InspectionRequest",
    "Job",
    "JobStatus",
    "KeyKind",
    "Keys",
    "Lockstep",
    "MetricSource",
    "ModelConverter",
    "Notifier",
    "PredictionLog",
    "PredictionRequest",
    "Progress",
    "RemoteStore",
    "RunStore",
    "Sampler",
    "StoreKeeper",
    "TableComparer",
    "Transactions",
    "UnitOfWork",
    "Urls",
]

T = TypeVar("T")
Columns: TypeAlias = "Mapping[str, npt.NDArray[Any]]"  # equally long arrays by column name
Progress = Callable[[int, int], None]  # told how many more files and bytes are done


class UnitOfWork(Protocol):
    """One metadata transaction over the frozen records of `domain`; leaving the `with` block commits, an exception rolls back.

    Keys are the record's primary key fields. Filters are `field=value` or `field__op=value` with op one of
    lt, le, gt, ge, ne, in. `order` is a field name, with `-` before it for descending; several by comma. Runs, which are
    many and record much, are read and written by `runs`.
    """

    @property
    def runs(self) -> "RunStore":
        """The runs of this transaction."""
        ...

    def get(self, kind: type[T], *key: object, lock: bool = False) -> T | None:
        """Read one record by primary key; with `lock`, other writers of it wait for this transaction."""
        ...

    def find(self, kind: type[T], /, *, order: str = "", limit: int | None = None, **where: object) -> list[T]:
        """Read the records that match, in order."""
        ...

    def count(self, kind: type[T], /, **where: object) -> int:
        """Count the records that match."""
        ...

    def add(self, *records: Any) -> None:
        """Insert records of one kind; Conflict when a primary key exists."""
        ...

    def save(self, *records: Any) -> None:
        """Insert or replace records of one kind by primary key."""
        ...

    def remove(self, kind: type[Any], /, **where: object) -> int:
        """Delete the records that match (at least one filter); give how many."""
        ...

    def record(self, event: Event) -> None:
        """Append an event."""
        ...


class RunStore(Protocol):
    """Runs with their params, tags and metrics, in one transaction."""

    def get(self, run_id: str, *, lock: bool = False) -> Run | None:
        """Read one run; with `lock`, other writers of it wait for this transaction."""
        ...

    def find(self, query: RunQuery) -> list[Run]:
        """Find runs in order."""
        ...

    def add(self, run: Run) -> Run:
        """Insert a run with its params and tags; one without a name gets its number within the experiment for one."""
        ...

    def update(self, run: Run) -> None:
        """Write a run's own fields, those of `Run` but for the experiment, the params, metrics and tags."""
        ...

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        """Add to a run; a tag of None is taken away. The same point again changes nothing.

        NotFound without the run, Invalid when it is deleted, Conflict when a param has another value.
        """
        ...

    def history(self, query: HistoryQuery) -> list[Metric]:
        """Read points of a metric."""
        ...

    def delete_all(self, experiment: int, *, since: float | None, deleted_at: float | None) -> None:
        """Mark an experiment's runs whose `deleted_at` is `since` with another: delete the active, restore the deleted."""
        ...


class Transactions(Protocol):
    """Opens units of work."""

    def begin(self, *, write: bool = True) -> AbstractContextManager[UnitOfWork]:
        """Start one transaction; `write=False` promises only reads."""
        ...


class BlobStore(Protocol):
    """Immutable content by BLAKE3 digest (64 hexadecimal digits). Trees are manifests, stored as blobs themselves."""

    def put(self, source: BinaryIO | bytes) -> str:
        """Store content atomically and give its digest; content that is there already costs no write."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading; NotFound if absent."""
        ...

    def path(self, digest: str) -> Path:
        """Give a local read-only file with the content; NotFound if absent."""
        ...

    def has(self, digest: str) -> bool:
        """Tell whether the content is here."""
        ...

    def put_tree(self, path: Path, *, progress: Progress | None = None) -> TreeSummary:
        """Store a folder, or one file under its own name; `.tournantignore` files leave out what they name."""
        ...

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest."""
        ...

    def checkout(self, digest: str, target: Path, *, progress: Progress | None = None) -> None:
        """Write a tree to `target` (created; a single-file tree becomes that file if `target` has its name)."""
        ...


class StoreKeeper(Protocol):
    """What datasets need of the content store on this machine beyond content: workspaces, upkeep."""

    def record(self, workspace: Workspace) -> None:
        """Remember which dataset version a path is."""
        ...

    def workspaces(self) -> list[Workspace]:
        """Give the paths that are dataset versions."""
        ...

    def changes(self, workspace: Workspace) -> TreeChanges:
        """Compare a path with the dataset version it was."""
        ...

    def collect(self, roots: Callable[[], Iterable[str]], *, grace_seconds: float, dry_run: bool = False) -> Collection:
        """Remove what `roots` do not reach and nobody stored within `grace_seconds`; writers may be at work."""
        ...

    def check(
        self,
        roots: Mapping[str, str],
        *,
        repair_from: Iterable["RemoteStore"] | None = None,
        progress: Progress | None = None,
    ) -> StoreCheck:
        """Read everything; `roots` (digest to a name for people) must be whole. With remotes, mend what is not."""
        ...


class RemoteStore(Protocol):
    """Dataset versions at another place, shared by several projects."""

    def versions(self, dataset: str = "") -> list[DatasetVersion]:
        """Give the versions that our project has there (of one dataset, or all), by dataset and number."""
        ...

    def push(self, versions: Sequence[DatasetVersion], *, progress: Progress | None = None) -> Transfer:
        """Send versions; Conflict when another content has a version's number there."""
        ...

    def fetch(self, digest: str, *, under: str = "", progress: Progress | None = None) -> Transfer:
        """Get a tree, or the part of it under a path, into the content store; NotFound if the remote lacks it."""
        ...

    def find_step(self, key: str) -> SharedStep | None:
        """Read what the step cache there answers to a key, whoever made it; None if nothing, or nothing readable."""
        ...

    def push_steps(self, steps: Sequence[SharedStep]) -> Transfer:
        """Send steps' outs, and file them under their keys, in the place of what is filed there."""
        ...

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest that is there, without its files."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading and seeking; only what is read comes."""
        ...

    def objects(self, digests: Iterable[bytes]) -> Iterator[Any]:
        """Give those stored objects that are there, for repair."""
        ...

    def collect(self, *, dry_run: bool = False) -> Collection:
        """Remove what no version of any project reaches; pushes may be going on."""
        ...


class Sampler(Protocol):
    """Says what a sweep tries next, from how it went so far. Asked and told by one thread at a time."""

    count: int

    def ask(self) -> tuple[int, dict[str, object]] | None:
        """Give the next trial's number and params; None when there were enough."""
        ...

    def tell(self, number: int, value: float | None, *, pruned: bool = False) -> None:
        """Say how a trial went; None: it has no value, since it failed or was stopped."""
        ...


class Urls(Protocol):
    """What stands at addresses: HTTP(S), S3, GCS, Azure, or a path on this machine."""

    def mark(self, url: str) -> str:
        """Give a word that changes when what stands at an address changes; NotFound if nothing does."""
        ...

    def download(self, url: str, target: Path, *, progress: Progress | None = None) -> None:
        """Write what stands at an address to `target`: a file, or a folder of files.

        What an interrupted download left of it at `target` is not read again.
        """
        ...


class TableComparer(Protocol):
    """Compares two versions of a table file."""

    def compares(self, name: str) -> bool:
        """Tell whether a file of this name is a table."""
        ...

    def compare(self, name: str, before: Path, after: Path) -> TableChanges:
        """Say how a table changed; Invalid if a file cannot be read as what its name says."""
        ...


class PredictionLog(Protocol):
    """Reads the recorded predictions; labels are passed in and joined by prediction id or by the user's key."""

    def outcomes(
        self,
        segments: Sequence[Segment],
        labels: Sequence[Label],
        *,
        start: float,
        end: float,
        inputs: Sequence[str] = (),
    ) -> Columns:
        """Give one entry per (prediction, revision) with event time in `[start, end)`.

        Columns: prediction_id, key, entity, event_time, revision, role, rollout, epoch, score (NaN on error), error (bool),
        latency_ms, label (NaN while unlabelled), and the named inputs (of the answered row, for shadows too).
        """
        ...

    def matched(self, segments: Sequence[Segment], labels: Sequence[Label]) -> set[str]:
        """Give the references of those labels that meet a prediction in the segments."""
        ...

    def freeze(
        self,
        base: Path | None,
        segments: Sequence[Segment],
        labels: Sequence[Label],
        target: Path,
        *,
        start: float,
        end: float,
        label_column: str,
        inputs: Sequence[str],
        log_start: float | None = None,
    ) -> int:
        """Write base rows and labelled answered rows in `[start, end)` (inputs, label, event_time, key) as one Parquet; give the rows.

        The log's rows begin at `log_start` where that is later, so that none comes twice when the base covers some.
        """
        ...

    def sample(self, parquet: Path, limit: int, *, seed: int = 0) -> Columns:
        """Give a deterministic sample of a Parquet file's rows in event-time order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command for an executor. `threads` bounds numeric libraries; `niceness` keeps training from starving serving.

    `env` are variables beside the executor's own; None takes one away.
    """

    id: str
    command: Sequence[str] | str
    cwd: Path
    log: Path
    env: Mapping[str, str | None] = field(default_factory=dict)
    threads: int = 1
    niceness: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """`state` is `unknown`, `running` or `ended` (then with an exit code, negative for a signal)."""

    state: str
    exit_code: int | None = None


class Executor(Protocol):
    """Runs commands; a job outlives the control plane that started it and can be found again by id."""

    def start(self, job: Job) -> None:
        """Start a job; a second start of a running id changes nothing."""
        ...

    def status(self, job_id: str) -> JobStatus:
        """Tell how a job is doing."""
        ...

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> JobStatus:
        """Wait for a job to end."""
        ...

    def stop(self, job_id: str) -> None:
        """End a job and all it started."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEnvironment:
    """An environment on this machine: its interpreter, what it takes on the disk by itself, and when it was last asked for."""

    python: Path
    size_bytes: int
    used_at: float


class EnvironmentBuilder(Protocol):
    """Captures and rebuilds environments."""

    def lock(self, *, python: str, requirements: str) -> Environment:
        """Resolve requirements to a locked environment; `python` is `major.minor` or empty for the platform's own."""
        ...

    def build(self, environment: Environment) -> Path:
        """Give the interpreter of the built environment, building it if needed (warm: well under a second)."""
        ...

    def interpreters(self) -> dict[str, Path]:
        """Give the CPython interpreters found, `major.minor` to path."""
        ...

    def built(self) -> dict[str, BuiltEnvironment]:
        """Give the environments that are built here, by digest."""
        ...

    def remove(self, digest: str) -> None:
        """Take a built environment away; it can be built again."""
        ...

    def machine(self, python: Path, environ: Mapping[str, str]) -> Machine:
        """Tell what numbers are computed with under an interpreter and variables; what cannot be told is left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRequest:
    """A model folder to convert and to compare. `sample` is a Parquet of reference rows, or None."""

    folder: Path
    entry: str
    flavor: str
    predict: str
    signature: Signature
    example: Sequence[Mapping[str, object]]
    environment: Environment | None  # None for the flavor `onnx`, which needs none
    sample: Path | None = None
    tolerance: float = 1e-4
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRequest:
    """A model folder to look into. `predict` may be empty (choose), `example` too (make one row up from the model's own names).

    `environment` is None for the flavor `onnx`, which needs none.
    """

    folder: Path
    entry: str
    flavor: str
    predict: str = ""
    example: Sequence[Mapping[str, object]] = ()
    environment: Environment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a model takes and gives: `predict` is the method chosen, `example` the rows as the signature types them."""

    signature: Signature
    predict: str
    example: tuple[dict[str, Scalar], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRequest:
    """A model folder and rows to predict; `environment` is None for the flavor `onnx`, which needs none."""

    folder: Path
    entry: str
    flavor: str
    predict: str
    signature: Signature
    rows: Sequence[Mapping[str, object]]
    environment: Environment | None = None


class ModelConverter(Protocol):
    """Looks into models, turns them into ONNX inside their own environment plus the converter, and compares both."""

    def inspect(self, request: InspectionRequest) -> Inspection:
        """Load the model in its own environment and predict the example; Invalid, with the reason, if that fails."""
        ...

    def convert(self, request: ConversionRequest) -> Conversion:
        """Write `request.target` if the conversion passes parity; never raises for a model that does not convert."""
        ...

    def predict(self, requests: Sequence[PredictionRequest]) -> "list[npt.NDArray[Any]]":
        """Predict with original models in their own environments: for each one float a row, or one a row and class.

        Invalid, with the reason, for a model that does not load or predict.
        """
        ...


class KeyKind(StrEnum):
    """What a key of the home signs."""

    STATEMENTS = "statements"  # what tournant has found out: Ed25519
    MODELS = "models"  # model files, in the OpenSSF format: ECDSA on P-256


class Keys(Protocol):
    """Signs with keys of the home, which are made when they are first used, and checks signatures. Public keys are PEM."""

    def sign(self, kind: KeyKind, message: bytes, *, key: Path | None = None) -> bytes:
        """Sign with the home's key of a kind, or with a private key in a PEM file; Invalid when that is none."""
        ...

    def public(self, kind: KeyKind, *, key: Path | None = None) -> bytes:
        """Give the public half of the same key."""
        ...

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature of a message holds; Invalid when `public` is no public key."""
        ...


class Notifier(Protocol):
    """Tells people, in one way. Messages come at least once each, in order."""

    @property
    def name(self) -> str:
        """What it is called: its own name among all, the same at each start, with no secret in it."""
        ...

    def notify(self, message: Message) -> None:
        """Deliver a message; Unavailable with the reason when it cannot, and it will be asked again."""
        ...


class MetricSource(Protocol):
    """Knows metrics that are measured elsewhere."""

    def value(self, url: str, query: str) -> float | None:
        """Give the value of an instant query now, None for no data; Unavailable with the reason when it gives no one number."""
        ...


class Clock(Protocol):
    """Business time: the wall clock live, driven in lockstep in a replay."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class Lockstep(Protocol):
    """Drives a replay: business time moves only when everything that follows from the old time has happened."""

    def advance(self, now: float) -> None:
        """Set business time, wait for gateways to flush, and tick controllers until they are quiet."""
        ...
