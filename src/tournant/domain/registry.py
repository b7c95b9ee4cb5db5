"""Registered models, their versions, signatures and conversions."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "AliasMove",
    "AliasMoveState",
    "Column",
    "ColumnType",
    "Conversion",
    "ConversionStatus",
    "ModelAlias",
    "ModelSignature",
    "ModelVersion",
    "Output",
    "RegisteredModel",
    "Signature",
]

Scalar = str | int | float | bool | None


class ColumnType(StrEnum):
    """The type of an input column."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input column. A `nullable` column takes null (a missing value: NaN for numbers, "" for strings)."""

    name: str
    type: ColumnType
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a prediction is.

    `kind` is `probability` (of the last of two `classes`), `probabilities` (one a class), or `number`.
    """

    kind: str = "number"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The named columns a model takes, in order, and what it gives."""

    inputs: tuple[Column, ...]
    output: Output = field(default_factory=Output)


class ConversionStatus(StrEnum):
    """Whether the converted model may be used in place of the original."""

    SUCCESSFUL = "successful"
    REJECTED = "rejected"  # converted, but its predictions differ by more than the tolerance
    FAILED = "failed"  # the converter gave up
    NATIVE = "native"  # the model was registered as ONNX
    SKIPPED = "skipped"  # the flavor has no converter


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The outcome of converting a model version to ONNX and comparing it with the original (parity).

    `max_difference` is the largest difference of a prediction on `rows` rows. With `relative` it is in units of the
    predictions' own size (their root mean square): float32, which ONNX computes in, keeps seven digits of any number.
    """

    status: ConversionStatus
    digest: str = ""  # of the .onnx file in the content store
    max_difference: float | None = None
    relative: bool = False
    tolerance: float | None = None
    rows: int = 0
    reason: str = ""

    @property
    def summary(self) -> str:
        """The outcome in words.

        >>> Conversion(status=ConversionStatus.SUCCESSFUL, max_difference=2.5e-7, tolerance=1e-4, rows=174).summary
        'successful: largest difference 2.5e-07 on 174 rows (tolerance 0.0001)'
        """
        size = " of the predictions' size" if self.relative else ""
        parity = (
            f"largest difference {self.max_difference:.2g}{size} on {self.rows:,} rows (tolerance {self.tolerance:g})"
            if self.max_difference is not None
            else ""
        )
        words = "; ".join(filter(None, (parity, self.reason)))
        return f"{self.status.value}: {words}" if words else self.status.value


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A named series of model versions; the aliases in `protected` move only after an approval."""

    name: str
    created_at: float
    description: str = ""
    updated_at: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    versions: int = 0  # ever registered, so that a deleted one's number is not given again
    protected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable version of a registered model, with all that is needed to serve and recreate it.

    `id` is `name@number`; `digest` that of the model folder's tree; `entry` the model file inside it; `predict` the
    method that gives the prediction (`predict_proba` or `predict`); `example` rows of named input columns.

    A version that was registered by MLflow's REST has its files at `artifact_location` (as they were then) or at its
    `source`, and no digest until it is prepared for serving.
    """

    id: str
    model: str
    number: int
    digest: str
    flavor: str
    entry: str
    predict: str
    signature: Signature
    example: tuple[dict[str, Scalar], ...]
    environment: str
    conversion: Conversion
    created_at: float
    run: str = ""
    code: str = ""
    commit: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    reference: str = ""  # digest of the Parquet with reference rows (inputs, label, event time)
    reference_label: str = ""  # ... its column with the label
    reference_time: str = ""  # ... and with the event time, if it has one
    actor: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""
    source: str = ""
    artifact_location: str = ""
    logged_model: str = ""
    run_link: str = ""
    stage: str = "None"
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlias:
    """A movable name for a model version, such as `champion`."""

    model: str
    alias: str
    version: int
    moved_at: float
    actor: str = ""


class AliasMoveState(StrEnum):
    """What became of a move of an alias."""

    WAITING = "waiting"  # for an approval
    MADE = "made"
    DECLINED = "declined"
    SUPERSEDED = "superseded"  # by a newer one, before anybody had approved it


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One move of an alias to `version` (None: taken away), which named `before`: who asked for it when and why, and who decided."""

    id: str
    model: str
    alias: str
    version: int | None
    before: int | None
    state: AliasMoveState
    asked_at: float
    actor: str = ""
    reason: str = ""
    decided_at: float | None = None
    decided_by: str = ""
    decision: str = ""  # the reason given with it

    @property
    def summary(self) -> str:
        """The move in words.

        >>> move = AliasMove(id="", model="fraud", alias="champion", version=3, before=2, state=AliasMoveState.MADE, asked_at=0.0)
        >>> move.summary
        'fraud@champion is now version 3'
        """
        target = f"version {self.version}" if self.version is not None else "no version any more"
        words = {
            AliasMoveState.MADE: "is now" if self.version is not None else "names",
            AliasMoveState.WAITING: "waits for an approval to name",
            AliasMoveState.DECLINED: "was declined to name",
            AliasMoveState.SUPERSEDED: "was to name",
        }
        return f"{self.model}@{self.alias} {words[self.state]} {target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """A model version's signature: `bundle` is the digest of the Sigstore bundle, `key` the SHA-256 of the public key in PEM."""

    model_version: str
    bundle: str
    key: str
    signed_at: float
    actor: str = ""
