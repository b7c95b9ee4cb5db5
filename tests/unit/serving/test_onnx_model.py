"""Converted models of every layout that is found in the wild."""

import asyncio
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tournant.domain.registry import Column, ColumnType, Output, Signature
from tournant.errors import Invalid
from tournant.serving.failures import ModelFailed
from tournant.serving.onnx_model import ConvertedModel
from tournant.serving.outputs import check_scores

NUMBERS = tuple(Column(name=name, type=ColumnType.NUMBER, nullable=True) for name in ("a", "b"))
FLOAT, INT64, DOUBLE, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE, TensorProto.STRING


def saved(tmp_path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=sets)
    model.ir_version = 9
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    return path


def tensor(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def signature(kind="number", columns=NUMBERS, classes=()):
    return Signature(inputs=tuple(columns), output=Output(kind=kind, classes=tuple(classes)))


def test_one_matrix_takes_the_columns_in_order(tmp_path):
    """A single [N, F] input is the signature's order."""
    weights = helper.make_tensor("w", FLOAT, [2, 1], [10.0, 1.0])
    path = saved(
        tmp_path,
        [helper.make_node("MatMul", ["X", "w"], ["variable"])],
        [tensor("X", FLOAT, None, 2)],
        [tensor("variable", FLOAT, None, 1)],
        [weights],
    )
    assert ConvertedModel(path, signature()).run([(1.0, 2.0), (3.0, 4.0)]) == [12.0, 34.0]


def test_named_columns_of_several_types(tmp_path):
    """Each input is fed as its tensor's type, whatever the column's; flat tensors too."""
    columns = (
        Column(name="t", type=ColumnType.STRING, nullable=True),
        Column(name="i", type=ColumnType.INTEGER),
        Column(name="d", type=ColumnType.NUMBER),
        Column(name="k", type=ColumnType.BOOLEAN),
    )
    path = saved(
        tmp_path,
        [
            helper.make_node(
                "LabelEncoder", ["t"], ["code"], domain="ai.onnx.ml", keys_strings=["", "x"], values_floats=[7.0, 5.0]
            ),
            helper.make_node("Cast", ["i"], ["fi"], to=FLOAT),
            helper.make_node("Cast", ["d"], ["fd"], to=FLOAT),
            helper.make_node("Cast", ["k"], ["fk"], to=FLOAT),
            helper.make_node("Sum", ["code", "fi", "fd", "fk"], ["y"]),
        ],
        [
            tensor("t", STRING, None),
            tensor("i", INT64, None),
            tensor("d", DOUBLE, None),
            tensor("k", TensorProto.BOOL, None),
        ],
        [tensor("y", FLOAT, None)],
    )
    model = ConvertedModel(path, signature(columns=columns))
    assert model.run([("x", 10, 0.5, True), (None, 20, 0.25, False)]) == [16.5, 27.25]


def test_zipmap_and_all_probabilities(tmp_path):
    """A list of dictionaries gives the last class, or all of them."""
    path = saved(
        tmp_path,
        [
            helper.make_node("Concat", ["a", "b"], ["p"], axis=1),
            helper.make_node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
        ],
        [tensor("a", FLOAT, None, 1), tensor("b", FLOAT, None, 1)],
        [
            helper.make_value_info(
                "output_probability",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None))
                ),
            )
        ],
    )
    assert ConvertedModel(path, signature("probability")).run([(0.75, 0.25)]) == [0.25]
    several = signature("probabilities", classes=("no", "yes"))
    assert ConvertedModel(path, several).run([(0.75, 0.25)]) == [[0.75, 0.25]]


def identity(tmp_path, name="a"):
    return saved(
        tmp_path,
        [helper.make_node("Identity", [name], ["y"])],
        [tensor(name, FLOAT, None, 1)],
        [tensor("y", FLOAT, None, 1)],
    )


def test_refuses_what_does_not_meet_the_signature(tmp_path):
    """The error names input and columns."""
    with pytest.raises(Invalid, match="cannot load"):
        (tmp_path / "bad").write_bytes(b"no model")
        ConvertedModel(tmp_path / "bad", signature())
    with pytest.raises(Invalid, match="'z'"):
        ConvertedModel(identity(tmp_path, "z"), signature())


def test_what_a_model_raises_is_its_failure(tmp_path):
    """A value that no tensor takes fails the model, not the gateway."""
    model = ConvertedModel(identity(tmp_path), signature(columns=[Column(name="a", type=ColumnType.STRING)]))
    with pytest.raises(ModelFailed, match="raised"):
        model.run([("text",)])


def test_slow_model_leaves_the_event_loop(tmp_path):
    """A large matrix product per row is run in a thread."""
    size = 1_500
    heavy = [
        helper.make_node("Mul", ["a", "big"], ["m"]),
        helper.make_node("MatMul", ["m", "m"], ["mm"]),
        helper.make_node("ReduceMean", ["mm"], ["mean"], keepdims=1),
        helper.make_node("Add", ["a", "mean"], ["y"]),
    ]
    big = helper.make_tensor(
        "big", FLOAT, [size, size], np.full(size * size, 1e-6, dtype=np.float32).tobytes(), raw=True
    )
    path = saved(tmp_path, heavy, [tensor("a", FLOAT, None, 1)], [tensor("y", FLOAT, None, None)], [big])
    model, quick = ConvertedModel(path, signature(columns=NUMBERS[:1])), ConvertedModel(identity(tmp_path), signature())
    assert model.measure([(1.0,)], runs=3) > 2
    quick.measure([(1.0, 2.0)], runs=50)
    assert (model.inline, quick.inline) == (False, True)
    scores = asyncio.run(model.predict([(1.0,)]))
    assert scores == model.run([(1.0,)])
    asyncio.run(model.close())


def test_load_beside_makes_no_model_slow(tmp_path, monkeypatch):
    """A quick model that waits for a core in each run, as it does on a busy machine, stays on the event loop."""
    run = ConvertedModel.run
    monkeypatch.setattr(ConvertedModel, "run", lambda self, rows: time.sleep(0.004) or run(self, rows))
    quick = ConvertedModel(identity(tmp_path), signature())
    quick.measure([(1.0, 2.0)], runs=30)
    assert quick.inline


@pytest.mark.parametrize(
    ("scores", "output"),
    [
        ([float("nan")], Output()),
        ([None], Output()),
        ([1.0, 2.0], Output()),
        ([[0.5]], Output(kind="probabilities", classes=("a", "b"))),
        ([[0.5, float("inf")]], Output(kind="probabilities", classes=("a", "b"))),
        ([0.5], Output(kind="probabilities", classes=("a", "b"))),
    ],
)
def test_what_is_no_prediction_fails(scores, output):
    """Not finite, too many, of the wrong shape."""
    with pytest.raises(ModelFailed):
        check_scores(scores, 1, output)
