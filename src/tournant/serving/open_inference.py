"""The Open Inference Protocol V2 on a deployment: its columns and predictions as named tensors, for REST and gRPC alike."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tournant.domain.registry import Output
from tournant.errors import Invalid, NotFound
from tournant.serving.answering import Answered
from tournant.serving.endpoint import Arm, Endpoint
from tournant.serving.schema import ROW_LIMIT, Request, RowSchema
from tournant.serving.tensors import DATATYPES, Tensor, column_datatype, column_values

__all__ = [
    "EXTENSIONS",
    "MATRIX",
    "PLATFORM",
    "TensorSpec",
    "arm_of",
    "check_datatype",
    "check_outputs",
    "inputs_of",
    "outputs_of",
    "read_tensors",
    "versions_of",
    "write_tensors",
]

PLATFORM = "tournant"
EXTENSIONS = ("binary_tensor_data",)
MATRIX = "input-0"  # the name of the one tensor that holds all columns, in the signature's order


class TensorSpec(NamedTuple):
    """A tensor as a model's metadata describe it; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


def inputs_of(endpoint: Endpoint) -> list[TensorSpec]:
    """Describe the tensors a deployment takes: one a column."""
    columns = endpoint.stable.held.signature.inputs
    return [TensorSpec(column.name, column_datatype(column), [-1, 1]) for column in columns]


def outputs_of(output: Output) -> list[TensorSpec]:
    """Describe the tensors it gives."""
    ids = TensorSpec("prediction_id", "BYTES", [-1])
    if output.kind == "probabilities":
        scores = TensorSpec("scores", "FP64", [-1, len(output.classes) or -1])
        return [scores, TensorSpec("label", "BYTES", [-1]), ids]
    return [TensorSpec("score", "FP64", [-1]), ids]


def versions_of(endpoint: Endpoint) -> dict[str, Arm]:
    """Give the model versions that answer, by their number; stable first."""
    arms = [endpoint.stable, *([endpoint.canary] if endpoint.canary else ())]
    found: dict[str, Arm] = {}
    for arm in arms:
        found.setdefault(arm.held.version.rpartition("@")[2], arm)
    return found


def arm_of(endpoint: Endpoint, version: str) -> Arm | None:
    """Give who answers for a model version; None for no version in particular, NotFound for one that does not answer now."""
    if not version:
        return None
    there = versions_of(endpoint)
    if version not in there:
        known = ", ".join(there)
        raise NotFound(f"deployment {endpoint.name!r} has no version {version!r} that answers (there is: {known})")
    return there[version]


def read_tensors(schema: RowSchema, tensors: Sequence[Tensor], parameters: dict[str, Any]) -> Request:
    """Turn tensors into rows; Invalid names the tensor, what was expected and what was found."""
    names = [tensor.name for tensor in tensors]
    if not tensors:
        raise Invalid("inputs has no tensor: send one a column of the model's metadata", place="inputs")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Invalid(f"input {name!r} is there twice", place=name)
    if names == [MATRIX] and MATRIX not in schema.columns:
        columns, rows = _cut(schema, tensors[0])
    else:
        columns, rows = _named(schema, tensors)
    return schema.assemble(columns, rows, parameters.get("key"), parameters.get("event_time"))


def write_tensors(answered: Answered, output: Output, wanted: Sequence[str]) -> list[Tensor]:
    """Give an answer's predictions as tensors, those `wanted` (none: all)."""
    return [_output(spec, answered) for spec in outputs_of(output) if not wanted or spec.name in wanted]


def check_outputs(output: Output, wanted: Sequence[str]) -> None:
    """Invalid if an output is asked for that there is not."""
    known = [spec.name for spec in outputs_of(output)]
    for name in wanted:
        if name not in known:
            raise Invalid(f"there is no output {name!r} (there is: {', '.join(known)})", place=f"outputs.{name}")


def check_datatype(datatype: str, name: str) -> None:
    """Invalid if the protocol knows no such datatype."""
    if datatype not in DATATYPES:
        known = ", ".join(DATATYPES)
        raise Invalid(f"input {name!r}: expected a datatype of {known}, found {datatype!r}", place=f"{name}.datatype")


def _named(schema: RowSchema, tensors: Sequence[Tensor]) -> tuple[dict[str, list[Any]], int]:
    columns: dict[str, list[Any]] = {}
    rows = tensors[0].shape[0]
    for tensor in tensors:
        column = schema.columns.get(tensor.name)
        if column is None:
            known = ", ".join(schema.columns)
            raise Invalid(
                f"there is no input {tensor.name!r}; the model takes {known}, or all as one tensor {MATRIX!r}",
                place=tensor.name,
            )
        _check_shape(tensor, rows, 1)
        columns[tensor.name] = column_values(tensor.values, tensor.datatype, column, tensor.name, whole=False)
    for name in schema.columns:
        if name in schema.required and name not in columns:
            expected = column_datatype(schema.columns[name])
            raise Invalid(f"input {name!r} is missing: expected a tensor {expected} of {rows} rows", place=name)
    return columns, rows


def _cut(schema: RowSchema, tensor: Tensor) -> tuple[dict[str, list[Any]], int]:
    """Cut a matrix into columns."""
    names = [name for name in schema.columns if name in schema.required]
    rows = tensor.shape[0]
    _check_shape(tensor, rows, len(names))
    wide = len(names)
    return {
        name: column_values(tensor.values[index::wide], tensor.datatype, schema.columns[name], tensor.name, whole=True)
        for index, name in enumerate(names)
    }, rows


def _check_shape(tensor: Tensor, rows: int, width: int) -> None:
    expected = [[rows, width], *([[rows]] if width == 1 else [])]
    place = f"{tensor.name}.shape"
    if tensor.shape not in expected:
        words = " or ".join(str(shape) for shape in expected)
        raise Invalid(f"input {tensor.name!r}: expected shape {words}, found {tensor.shape}", place=place)
    if not 1 <= rows <= ROW_LIMIT:
        raise Invalid(f"input {tensor.name!r}: expected 1 to {ROW_LIMIT} rows, found {rows}", place=place)
    if len(tensor.values) != rows * width:
        message = f"input {tensor.name!r}: expected {rows * width} values by its shape, found {len(tensor.values)}"
        raise Invalid(message, place=f"{tensor.name}.data")


def _output(spec: TensorSpec, answered: Answered) -> Tensor:
    rows = len(answered.ids)
    if spec.name == "prediction_id":
        return Tensor(name=spec.name, datatype=spec.datatype, shape=[rows], values=answered.ids)
    if spec.name == "label":
        return Tensor(name=spec.name, datatype=spec.datatype, shape=[rows], values=answered.labels())
    if spec.name == "scores":
        flat = [value for score in answered.scores for value in score]
        return Tensor(name=spec.name, datatype=spec.datatype, shape=[rows, len(flat) // rows], values=flat)
    return Tensor(name=spec.name, datatype=spec.datatype, shape=[rows], values=list(answered.scores))
