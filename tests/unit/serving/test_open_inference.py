"""Tensors and rows: matrices, datatypes, round trips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.registry import Column, ColumnType, Signature
from tournant.errors import Invalid
from tournant.serving.open_inference import MATRIX, read_tensors
from tournant.serving.schema import RowSchema
from tournant.serving.tensors import Tensor, decode_raw, encode_raw

SCHEMA = RowSchema(
    Signature(
        inputs=(
            Column(name="age", type=ColumnType.INTEGER),
            Column(name="height", type=ColumnType.NUMBER, nullable=True),
        )
    )
)
GET = SCHEMA.values(Signature(inputs=tuple(SCHEMA.columns.values())))


def matrix(values, rows, datatype="FP32"):
    return [Tensor(name=MATRIX, datatype=datatype, shape=[rows, 2], values=values)]


def test_a_matrix_is_cut_into_columns_of_their_types():
    """Whole floats are integers for an integer column, NaN is missing where that may be."""
    rows = read_tensors(SCHEMA, matrix([30.0, 1.5, 40.0, float("nan")], 2), {}).rows
    assert [GET(row) for row in rows] == [(30, 1.5), (40, None)]
    assert all(type(GET(row)[0]) is int for row in rows)


def test_a_matrix_may_not_have_fractions_for_an_integer():
    """The column and what was found are named."""
    with pytest.raises(Invalid, match="column 'age': Expected `int`, got `float`"):
        read_tensors(SCHEMA, matrix([30.5, 1.5], 1), {})


def test_a_tensor_of_its_own_must_have_the_columns_type():
    """Floats are no integers when the tensor is the column's own."""
    tensors = [Tensor(name=name, datatype="FP64", shape=[1], values=[1.0]) for name in ("age", "height")]
    with pytest.raises(Invalid, match="input 'age': expected datatype INT64"):
        read_tensors(SCHEMA, tensors, {})


def test_a_missing_number_is_refused_where_it_may_not_be():
    """NaN for a column that takes no missing values says so."""
    with pytest.raises(Invalid, match="column 'age': Expected `int`, got `null`"):
        read_tensors(SCHEMA, matrix([float("nan"), 1.0], 1), {})


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1))
def test_raw_numbers_come_back(values):
    """What is encoded is decoded, in every width that holds it."""
    for datatype in ("FP32", "FP64"):
        tensor = Tensor(name="x", datatype=datatype, shape=[len(values)], values=values)
        assert decode_raw(encode_raw(tensor), datatype, len(values), "x") == values


@given(st.lists(st.text(), min_size=1))
def test_raw_texts_come_back(values):
    """Texts of any length and script survive."""
    tensor = Tensor(name="x", datatype="BYTES", shape=[len(values)], values=values)
    assert decode_raw(encode_raw(tensor), "BYTES", len(values), "x") == values


@given(st.binary(max_size=64), st.integers(0, 5))
def test_any_bytes_are_values_or_a_sentence(raw, count):
    """Nothing a client sends as raw text raises anything else."""
    try:
        assert len(decode_raw(raw, "BYTES", count, "x")) == count
    except Invalid as exc:
        assert "'x'" in exc.message


def test_every_numeric_datatype_is_decoded():
    """Little-endian, as the protocol has it."""
    for datatype, dtype in {"INT8": "<i1", "UINT16": "<u2", "INT32": "<i4", "UINT64": "<u8", "FP16": "<f2"}.items():
        assert decode_raw(np.array([1, 2], dtype=dtype).tobytes(), datatype, 2, "x") == [1, 2]
