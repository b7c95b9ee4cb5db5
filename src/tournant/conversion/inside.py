"""Looks into a model, or converts it to ONNX, inside the model's own environment.

Started by path with that environment's interpreter (CPython 3.8 to 3.13): `python inside.py REQUEST ANSWER`, both JSON files. It imports
nothing of tournant, and nothing that the environment lacks.
"""

import importlib.util
import json
import math
import os
import pickle
import sys
import traceback
import warnings

UNSEEN = "\u2205unseen"
OPSETS = {"": 17, "ai.onnx.ml": 3}  # what the converters of boosted trees write


def main():
    """Answer one request; an error becomes an answer too."""
    sys.path.pop(0)  # the folder of this file is no place to import from
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    try:
        answer = {"inspect": inspect, "convert": convert, "predict": predict}[request["mode"]](request)
    except Exception as exc:
        last = traceback.format_exception_only(type(exc), exc)[-1].strip()
        answer = {"error": last, "traceback": traceback.format_exc()}
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(answer, file)


def inspect(request):
    """Load the model, predict the example, and tell the signature."""
    if request["flavor"] == "onnx":
        return inspect_onnx(request)
    model = load(request["folder"], request["entry"])
    rows = request["rows"] or [invent_row(model)]
    columns = infer_columns(rows)
    predict = request["predict"] or ("predict_proba" if hasattr(model, "predict_proba") else "predict")
    scores = call(model, predict, columns, rows)
    return {"columns": columns, "output": describe_output(model, scores), "predict": predict, "rows": rows}


def predict(request):
    """Predict rows with each of some models."""
    return {"scores": [predict_one(model).tolist() for model in request["models"]]}


def predict_one(request):
    """Predict rows with the original model."""
    if request["flavor"] == "onnx":
        session = open_session(os.path.join(request["folder"], request["entry"]))
        return run_onnx(session, request["columns"], request["rows"])
    model = load(request["folder"], request["entry"])
    return call(model, request["predict"], request["columns"], request["rows"])


def convert(request):
    """Convert, compare with the original, and write the ONNX file if all went well; the caller judges the difference."""
    model = load(request["folder"], request["entry"])
    columns, rows = request["columns"], request["rows"]
    expected = call(model, request["predict"], columns, rows)
    odd = odd_rows(columns, rows)
    try:
        expected_odd = call(model, request["predict"], columns, odd) if odd else None
    except Exception:
        odd, expected_odd = [], None  # the original refuses unseen or missing values: so may the converted one
    converted = model.to_onnx(columns) if hasattr(model, "to_onnx") else convert_sklearn(model, columns)
    with open(request["target"], "wb") as file:
        file.write(converted.SerializeToString())
    session = open_session(request["target"])
    differences = [difference(expected, run_onnx(session, columns, rows))]
    if odd:
        differences.append(difference(expected_odd, run_onnx(session, columns, odd)))
    return {"max_difference": max(differences), "size": size_of(expected), "rows": len(rows) + len(odd)}


def convert_sklearn(model, columns):
    """Convert a model that speaks scikit-learn's language."""
    import skl2onnx

    copied = with_float32_thresholds(model)
    boosted = know_boosters(copied)
    return skl2onnx.convert_sklearn(
        copied,
        initial_types=input_types(model, columns),
        options=options(copied),
        target_opset=OPSETS if boosted else None,
    )


def load(folder, entry):
    """Load a model file, or the class `Model` (or the object `model`) of a .py file; modules beside it can be imported."""
    sys.path.insert(0, folder)
    path = os.path.join(folder, entry)
    if entry.endswith(".py"):
        spec = importlib.util.spec_from_file_location("model_entry", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["model_entry"] = module
        spec.loader.exec_module(module)
        return module.model if hasattr(module, "model") else module.Model()
    try:
        import joblib
    except ImportError:
        with open(path, "rb") as file:
            return pickle.load(file)
    return joblib.load(path)


def invent_row(model):
    """Make a row of zeros from the names or the number of features that the model knows."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        count = getattr(model, "n_features_in_", None)
        if count is None:
            raise ValueError(
                "the model does not say what columns it takes: give an input example (a JSON list of rows)"
            )
        names = ["x%d" % i for i in range(count)]
    return {str(name): 0.0 for name in names}


def infer_columns(rows):
    """Type the columns of the first row by all rows; a column with null anywhere may be missing."""
    columns = []
    for name in rows[0]:
        values = [row.get(name) for row in rows]
        given = [value for value in values if value is not None]
        kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
        found = {kinds.get(type(value), "") for value in given} or {"number"}
        if "" in found:
            raise ValueError(
                "column %r of the input example holds %r, which is no text, number or boolean" % (name, given[0])
            )
        if found == {"integer", "number"}:
            found = {"number"}
        if len(found) > 1:
            raise ValueError("column %r of the input example mixes %s" % (name, " and ".join(sorted(found))))
        columns.append({"name": name, "type": found.pop(), "nullable": len(given) < len(values)})
    return columns


def table(model, columns, rows):
    """Give the rows as the model wants them: a DataFrame if it knows names or mixes types, else a matrix."""
    names = [column["name"] for column in columns]
    texts = any(column["type"] == "string" for column in columns)
    try:
        import pandas
    except ImportError:
        pandas = None
    if pandas is not None and (texts or named(model)):
        series = {}
        for column in columns:
            values = [row.get(column["name"]) for row in rows]
            if column["type"] == "string":
                series[column["name"]] = pandas.Series(values, dtype=object)
            elif column["type"] == "integer" and None not in values:
                series[column["name"]] = pandas.Series(values)
            else:
                series[column["name"]] = pandas.Series(
                    [math.nan if value is None else float(value) for value in values]
                )
        return pandas.DataFrame(series, columns=names)
    import numpy

    matrix = [[row.get(name) for name in names] for row in rows]
    return numpy.array(matrix, dtype=object) if texts else numpy.array(matrix, dtype=float)


def named(model):
    """Tell whether a model was fitted on named columns, itself or in a step."""
    return hasattr(model, "feature_names_in_") or any(
        hasattr(step, "feature_names_in_") for _, step in getattr(model, "steps", [])
    )


def call(model, method, columns, rows):
    """Predict: one float a row, or one a row and class."""
    import numpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = numpy.asarray(getattr(model, method)(table(model, columns, rows)))
    if scores.dtype.kind not in "fiub":
        raise ValueError(
            "%s gives %s, not numbers: a model must give probabilities or numbers" % (method, scores.dtype)
        )
    if len(scores) != len(rows):
        raise ValueError("%s gave %d predictions for %d rows" % (method, len(scores), len(rows)))
    return scores.astype(float).reshape(len(rows), -1)


def describe_output(model, scores):
    """Tell what a prediction is by its width."""
    if scores.shape[1] == 1:
        return {"kind": "number", "classes": []}
    classes = [str(value) for value in getattr(model, "classes_", range(scores.shape[1]))]
    return {"kind": "probability" if scores.shape[1] == 2 else "probabilities", "classes": classes}


def odd_rows(columns, rows):
    """Give rows with what is allowed but rare: missing values where they may be, categories never seen."""
    odd = []
    for column in columns:
        if column["nullable"]:
            odd.append({**rows[0], column["name"]: None})
        if column["type"] == "string":
            odd.append({**rows[0], column["name"]: UNSEEN})
    return odd


def with_float32_thresholds(model):
    """Round boosted trees' thresholds down to float32: for a float32 x, x <= t and x <= floor32(t) are the same."""
    import copy

    import numpy

    model = copy.deepcopy(model)
    for estimator in estimators(model):
        for stage in getattr(estimator, "_predictors", None) or []:
            for tree in stage:
                exact = tree.nodes["num_threshold"]
                rounded = exact.astype(numpy.float32)
                above = rounded.astype(float) > exact
                rounded[above] = numpy.nextafter(rounded[above], numpy.float32(-numpy.inf))
                tree.nodes["num_threshold"] = rounded
    return model


def know_boosters(model):
    """Teach the converter the boosted trees of XGBoost and LightGBM that a model (a copy, which may be changed) has; tell if it has any."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    found = False
    classes = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for estimator in estimators(model):
        kind = type(estimator)
        library = kind.__module__.split(".")[0]
        if library == "xgboost":
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as convert_booster

            estimator.get_booster().feature_names = (
                None  # it is fed a matrix, and would not take other names than f0, f1, ...
            )
        elif library == "lightgbm":
            from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as convert_booster
        else:
            continue
        classifier = hasattr(estimator, "predict_proba")
        shapes = calculate_linear_classifier_output_shapes if classifier else calculate_linear_regressor_output_shapes
        known = classes if classifier else {"split": None} if library == "lightgbm" else {}
        update_registered_converter(kind, library + kind.__name__, shapes, convert_booster, options=known)
        found = True
    return found


def estimators(model):
    """Give a model and all that stands inside it."""
    yield model
    for _, step in getattr(model, "steps", None) or []:
        for inner in estimators(step):
            yield inner
    for name in ("estimator", "estimator_", "regressor_", "best_estimator_"):
        if hasattr(model, name) and not isinstance(getattr(model, name), str):
            for inner in estimators(getattr(model, name)):
                yield inner


def options(model):
    """Ask for plain probabilities instead of one dictionary a row."""
    last = model.steps[-1][1] if getattr(model, "steps", None) else model
    return {id(last): {"zipmap": False}} if hasattr(model, "classes_") and hasattr(model, "predict_proba") else None


def input_types(model, columns):
    """Declare one input a column where a column transformer picks them by name, else one matrix."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    first = model.steps[0][1] if getattr(model, "steps", None) else model
    texts = any(column["type"] == "string" for column in columns)
    if hasattr(first, "transformers") or texts:
        return [
            (column["name"], StringTensorType([None, 1]) if column["type"] == "string" else FloatTensorType([None, 1]))
            for column in columns
        ]
    return [("X", FloatTensorType([None, len(columns)]))]


def open_session(path):
    """Open an ONNX file on one thread."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def run_onnx(session, columns, rows):
    """Predict with a converted model: one float a row, or one a row and class."""
    import numpy

    outputs = session.run(None, feed(session, columns, rows))
    names = [output.name for output in session.get_outputs()]
    best = [value for name, value in zip(names, outputs) if "proba" in name.lower()] or outputs
    scores = best[-1]
    if isinstance(scores, list):  # one dictionary a row: the converter's zipmap
        scores = [list(row.values()) for row in scores]
    return numpy.asarray(scores, dtype=float).reshape(len(rows), -1)


def feed(session, columns, rows):
    """Give a session's inputs: each column by its name, or the one matrix there is."""
    import numpy

    kinds = {
        "tensor(string)": object,
        "tensor(double)": numpy.float64,
        "tensor(int64)": numpy.int64,
        "tensor(bool)": numpy.bool_,
    }
    inputs = session.get_inputs()
    names = [column["name"] for column in columns]
    if len(inputs) == 1 and not (len(names) == 1 and inputs[0].name == names[0]):
        matrix = [[plain(row.get(name), "number") for name in names] for row in rows]
        return {inputs[0].name: numpy.array(matrix, dtype=kinds.get(inputs[0].type, numpy.float32))}
    types = {column["name"]: column["type"] for column in columns}
    return {
        i.name: numpy.array(
            [[plain(row.get(i.name), types[i.name])] for row in rows], dtype=kinds.get(i.type, numpy.float32)
        )
        for i in inputs
    }


def plain(value, kind):
    """Write a missing value as a tensor has it."""
    if value is None:
        return "" if kind == "string" else math.nan
    return value


def size_of(predictions):
    """Give the root mean square of predictions that are numbers."""
    import numpy

    finite = predictions[numpy.isfinite(predictions)]
    return float(numpy.sqrt(numpy.mean(finite**2))) if finite.size else 0.0


def difference(expected, found):
    """Give the largest absolute difference; missing against a number, or another shape, is infinite."""
    import numpy

    if found.shape[1] != expected.shape[1]:
        return math.inf
    apart = numpy.abs(expected - found)
    apart[numpy.isnan(expected) & numpy.isnan(found)] = 0.0
    apart[numpy.isnan(apart)] = math.inf
    return float(apart.max()) if apart.size else 0.0


def inspect_onnx(request):
    """Tell the signature of an ONNX model by its own inputs, the example and one prediction."""
    session = open_session(os.path.join(request["folder"], request["entry"]))
    rows = request["rows"] or [invent_onnx_row(session)]
    columns = infer_columns(rows)
    scores = run_onnx(session, columns, rows)
    return {"columns": columns, "output": describe_output(None, scores), "predict": "run", "rows": rows}


def invent_onnx_row(session):
    """Make a row from an ONNX model's inputs."""
    inputs = session.get_inputs()
    if (
        len(inputs) == 1
        and len(inputs[0].shape) == 2
        and isinstance(inputs[0].shape[1], int)
        and inputs[0].shape[1] > 1
    ):
        return {"x%d" % i: 0.0 for i in range(inputs[0].shape[1])}
    zeros = {"tensor(string)": "", "tensor(int64)": 0, "tensor(bool)": False}
    return {i.name: zeros.get(i.type, 0.0) for i in inputs}


if __name__ == "__main__":
    main()
