"""Models and the environments they run in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tournant.domain.environment import Environment
from tournant.domain.machine import Machine
from tournant.domain.registry import Conversion, Scalar, Signature

if TYPE_CHECKING:  # numpy takes 100 ms, which a command that has nothing to do need not pay
    import numpy.typing as npt

__all__ = [
    "BuiltEnvironment",
    "ConversionRequest",
    "EnvironmentBuilder",
    "Inspection",
    "InspectionRequest",
    "ModelConverter",
    "PredictionRequest",
]


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
