"""Loads what LightGBM's `save_model` wrote beside this file."""

import pathlib

import lightgbm
import numpy


class Regressor:
    """A booster that gives one number a row."""

    def __init__(self, booster):
        """Wrap a booster."""
        self.booster = booster
        self.feature_names_in_ = numpy.array(booster.feature_name(), dtype=object)

    def predict(self, table):
        """Give what the booster gives."""
        return self.booster.predict(table)

    def to_onnx(self, columns):
        """Convert."""
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        types = [("X", FloatTensorType([None, len(columns)]))]
        return convert_lightgbm(self.booster, initial_types=types, target_opset=15, zipmap=False)


class Classifier(Regressor):
    """A booster that gives probabilities."""

    def __init__(self, booster, classes):
        """Wrap a booster of so many classes."""
        super().__init__(booster)
        self.classes_ = numpy.arange(classes)

    def predict_proba(self, table):
        """Give one probability a class."""
        scores = self.booster.predict(table)
        return scores if scores.ndim == 2 else numpy.stack([1.0 - scores, scores], axis=1)


path = next(p for p in pathlib.Path(__file__).parent.iterdir() if p.suffix == ".txt")
booster = lightgbm.Booster(model_file=str(path))
objective = booster.dump_model(num_iteration=1).get("objective", "")
several = objective.startswith("multiclass")
model = (
    Classifier(booster, booster.num_model_per_iteration() if several else 2)
    if several or objective.startswith("binary")
    else Regressor(booster)
)
