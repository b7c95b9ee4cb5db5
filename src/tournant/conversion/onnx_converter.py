"""Looks into models and converts them to ONNX, each in a process of its own environment, behind a parity gate."""

import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tournant.config import Settings
from tournant.domain.environment import Environment
from tournant.domain.registry import Column, ColumnType, Conversion, ConversionStatus, Output, Signature
from tournant.errors import Invalid, TournantError
from tournant.ports import ConversionRequest, EnvironmentBuilder, Inspection, InspectionRequest, PredictionRequest

__all__ = ["OnnxConverter"]

SCRIPT = Path(__file__).with_name("inside.py")
SAMPLE_ROWS = 2000
SECONDS = 300.0

# What converts a flavor, beside the model's own packages. skl2onnx fails with protobuf 7.
CONVERTERS = {
    "sklearn": ("skl2onnx>=1.17", "protobuf<7", "onnx", "onnxruntime"),
    "torch": ("onnx", "onnxruntime", "onnxscript"),
}
BOOSTERS = frozenset({"xgboost", "xgboost-cpu", "lightgbm"})  # what onnxmltools converts inside scikit-learn's models


class OnnxConverter:
    """Runs `inside.py` by path: the model's packages never enter this process, nor the converter's (it pins an old protobuf)."""

    def __init__(self, environments: EnvironmentBuilder, settings: Settings) -> None:
        """Build environments with `environments`."""
        self._environments = environments
        self._settings = settings

    def inspect(self, request: InspectionRequest) -> Inspection:
        """Load the model in its own environment and predict the example."""
        answer = self._run(
            self._python(request.environment),
            {
                "mode": "inspect",
                "folder": str(request.folder),
                "entry": request.entry,
                "flavor": request.flavor,
                "predict": request.predict,
                "rows": list(request.example),
            },
        )
        if "error" in answer:
            raise Invalid(_unusable(request, answer["error"]), place=request.entry)
        columns = tuple(
            Column(name=c["name"], type=ColumnType(c["type"]), nullable=c["nullable"]) for c in answer["columns"]
        )
        output = Output(kind=answer["output"]["kind"], classes=tuple(answer["output"]["classes"]))
        signature = Signature(inputs=columns, output=output)
        return Inspection(signature=signature, predict=answer["predict"], example=tuple(answer["rows"]))

    def convert(self, request: ConversionRequest) -> Conversion:
        """Convert and compare; the target is written only if parity holds."""
        if request.flavor == "onnx":
            shutil.copyfile(request.folder / request.entry, request.target)
            return Conversion(status=ConversionStatus.NATIVE, reason="registered as ONNX")
        if request.flavor not in CONVERTERS or request.environment is None:
            known = ", ".join(CONVERTERS)
            return Conversion(
                status=ConversionStatus.SKIPPED,
                reason=f"no converter for {request.flavor!r} (there is one for: {known})",
            )
        try:
            return self._convert(request, request.environment)
        except TournantError as exc:
            return Conversion(status=ConversionStatus.FAILED, reason=exc.message)

    def predict(self, requests: Sequence[PredictionRequest]) -> list[npt.NDArray[Any]]:
        """Predict; models of one environment share a process unless they bring modules, which would share a name."""
        apart = any(any(request.folder.rglob("*.py")) for request in requests)
        groups: dict[object, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(index if apart else request.environment and request.environment.digest, []).append(index)
        found: dict[int, npt.NDArray[Any]] = {}
        for indexes in groups.values():
            asked = [requests[index] for index in indexes]
            answer = self._run(
                self._python(asked[0].environment), {"mode": "predict", "models": list(map(_question, asked))}
            )
            if "error" in answer:
                raise Invalid(f"a model does not predict in its own environment: {answer['error']}")
            found.update(zip(indexes, (np.array(scores, dtype=float) for scores in answer["scores"]), strict=True))
        return [found[index] for index in range(len(requests))]

    def _convert(self, request: ConversionRequest, environment: Environment) -> Conversion:
        rows = [*request.example, *_sample(request.sample, request.signature)]
        partial = request.target.with_name(f".{request.target.name}.partial")
        answer = self._run(
            self._environments.build(self._with_converter(environment, request.flavor)),
            {
                "mode": "convert",
                "folder": str(request.folder),
                "entry": request.entry,
                "predict": request.predict,
                "columns": _columns(request.signature),
                "rows": rows,
                "target": str(partial),
            },
        )
        try:
            return _judge(answer, request, partial)
        finally:
            partial.unlink(missing_ok=True)

    def _with_converter(self, environment: Environment, flavor: str) -> Environment:
        """Lock the model's exact packages plus the converter's."""
        pins = re.findall(r"^([A-Za-z0-9][^\s;\\]*==[^\s;\\]+[^\\\n]*)", environment.lock, flags=re.MULTILINE)
        own = {re.split(r"[=<>!\[; ]", pin, maxsplit=1)[0].lower().replace("_", "-") for pin in pins}
        needs = (*CONVERTERS[flavor], *(("onnxmltools>=1.13",) if own & BOOSTERS else ()))
        more = [need for need in needs if re.split(r"[=<>!\[; ]", need, maxsplit=1)[0] not in own]
        return self._environments.lock(
            python=environment.python, requirements="\n".join([*map(str.strip, pins), *more]) + "\n"
        )

    def _python(self, environment: Environment | None) -> Path:
        return Path(sys.executable) if environment is None else self._environments.build(environment)

    def _run(self, python: Path, request: Mapping[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="tournant-") as folder:
            question, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
            question.write_text(json.dumps(request))
            environ = self._settings.child_environ(
                {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
            )
            command = [str(python), str(SCRIPT), str(question), str(answer)]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, env=environ, timeout=SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                return {"error": f"it took longer than {SECONDS:.0f} seconds"}
            if not answer.exists():
                lines = done.stderr.strip().splitlines()
                return {"error": f"its process ended with {done.returncode}: {lines[-1] if lines else 'no word'}"}
            content: dict[str, Any] = json.loads(answer.read_text())
            return content


def _columns(signature: Signature) -> list[dict[str, object]]:
    return [{"name": c.name, "type": c.type.value, "nullable": c.nullable} for c in signature.inputs]


def _question(request: PredictionRequest) -> dict[str, object]:
    return {
        "folder": str(request.folder),
        "entry": request.entry,
        "flavor": request.flavor,
        "predict": request.predict,
        "columns": _columns(request.signature),
        "rows": list(request.rows),
    }


def _unusable(request: InspectionRequest, error: str) -> str:
    error = error.replace(f"{request.folder}/", "")
    if request.flavor == "onnx":
        return f"{request.entry} is no ONNX model that runs here: {error}"
    return (
        f"the model {request.entry} does not work in its own environment: {error}. "
        "Is the file whole, is its example right, and do its requirements name all that it needs?"
    )


def _judge(answer: Mapping[str, Any], request: ConversionRequest, partial: Path) -> Conversion:
    if "error" in answer:
        return Conversion(status=ConversionStatus.FAILED, reason=answer["error"], tolerance=request.tolerance)
    relative = request.signature.output.kind == "number" and answer["size"] > 0
    largest = float(answer["max_difference"]) / (answer["size"] if relative else 1.0)
    parity = Conversion(
        status=ConversionStatus.SUCCESSFUL,
        max_difference=largest if math.isfinite(largest) else None,
        relative=relative,
        tolerance=request.tolerance,
        rows=int(answer["rows"]),
    )
    if not largest <= request.tolerance:
        missing = "" if math.isfinite(largest) else "where one has a prediction the other has none; "
        return replace(parity, status=ConversionStatus.REJECTED, reason=f"{missing}it runs in a worker instead")
    partial.replace(request.target)
    return parity


def _sample(parquet: Path | None, signature: Signature) -> Sequence[dict[str, Any]]:
    """Take rows spread evenly over the reference, only its input columns; missing numbers become null."""
    if parquet is None:
        return []
    names = [column.name for column in signature.inputs]
    import duckdb  # start-up time

    with duckdb.connect() as connection:
        file = str(parquet).replace("'", "''")
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        count = connection.execute(f"SELECT count(*) FROM read_parquet('{file}')").fetchall()[0][0]
        step = max(1, count // SAMPLE_ROWS)
        query = f"SELECT {columns} FROM read_parquet('{file}') QUALIFY (row_number() OVER () - 1) % {step} = 0 LIMIT {SAMPLE_ROWS}"
        try:
            rows = connection.execute(query).fetchall()
        except duckdb.Error as exc:
            raise Invalid(f"the reference rows do not fit the model's signature: {exc}") from exc
    return [dict(zip(names, map(_plain, row), strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return float(value) if not isinstance(value, str | int | float | bool | None) else value
