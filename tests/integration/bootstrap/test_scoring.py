"""Champion and challenger are judged on what they would really answer."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tournant.bootstrap.scoring import ServedScorer
from tournant.domain.environment import Environment
from tournant.domain.registry import (
    Column,
    ColumnType,
    Conversion,
    ConversionStatus,
    ModelVersion,
    Output,
    Signature,
)
from tournant.errors import Invalid
from tournant.services.context import Context

MODEL = """
class Model:
    def predict(self, rows):
        values = rows.to_dict("records") if hasattr(rows, "to_dict") else [{"x": r[0], "carrier": r[1]} for r in rows]
        return [self.one(row) for row in values]

    def one(self, row):
        if row["carrier"] == "bad":
            raise ValueError("no such carrier")
        return 2.0 * float(row["x"]) + (row["carrier"] == "UA")
"""
ROWS = {"x": np.array([1.0, math.nan, 3.0]), "carrier": np.array(["UA", "AA", "AA"], dtype=object), "late": np.zeros(3)}


def version(*columns: Column, conversion: Conversion, digest: str = "", environment: str = "") -> ModelVersion:
    return ModelVersion(
        id="flights@1",
        model="flights",
        number=1,
        digest=digest,
        flavor="python",
        entry="model.py",
        predict="predict",
        signature=Signature(inputs=columns, output=Output(kind="number")),
        example=(),
        environment=environment,
        conversion=conversion,
        created_at=0.0,
    )


def doubling_onnx(path: Path) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path.read_bytes()


X, CARRIER = Column(name="x", type=ColumnType.NUMBER, nullable=True), Column(name="carrier", type=ColumnType.STRING)


def test_a_converted_model_scores_by_its_conversion(context: Context, tmp_path: Path) -> None:
    """Columns are picked by name; a missing number stays missing."""
    digest = context.blobs.put(doubling_onnx(tmp_path / "m.onnx"))
    converted = version(X, conversion=Conversion(status=ConversionStatus.SUCCESSFUL, digest=digest))
    scores = ServedScorer(context).score(converted, ROWS)
    assert scores[[0, 2]].tolist() == [2.0, 6.0]
    assert math.isnan(scores[1])


@pytest.fixture
def served_in_environment(context: Context, tmp_path: Path) -> ModelVersion:
    """A version without a conversion: it runs in a worker."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with context.transactions.begin() as uow:
        uow.save(Environment(digest="e", python=python, lock=""))
    return version(
        X,
        CARRIER,
        conversion=Conversion(status=ConversionStatus.SKIPPED),
        digest=context.blobs.put_tree(folder).digest,
        environment="e",
    )


def test_a_model_that_is_not_converted_scores_in_its_environment(
    context: Context, served_in_environment: ModelVersion
) -> None:
    """A worker of that environment gives the numbers."""
    scores = ServedScorer(context).score(served_in_environment, ROWS)
    assert scores[[0, 2]].tolist() == [3.0, 6.0]
    assert math.isnan(scores[1])


def test_a_row_the_model_fails_on_has_no_score(context: Context, served_in_environment: ModelVersion) -> None:
    """Its neighbours keep theirs."""
    rows = {**ROWS, "carrier": np.array(["UA", "AA", "bad"], dtype=object), "x": np.array([1.0, 2.0, 3.0])}
    scores = ServedScorer(context).score(served_in_environment, rows)
    assert scores[:2].tolist() == [3.0, 4.0]
    assert math.isnan(scores[2])


def test_rows_without_a_column_of_the_signature_are_refused(context: Context) -> None:
    """The error names the column and those there are."""
    other = version(
        replace(X, name="dep_hour"), conversion=Conversion(status=ConversionStatus.SUCCESSFUL, digest="d" * 64)
    )
    with pytest.raises(Invalid, match="no column 'dep_hour' \\(they have: x, carrier, late\\)"):
        ServedScorer(context).score(other, ROWS)
