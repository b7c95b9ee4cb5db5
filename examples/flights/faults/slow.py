"""A model that answers right, but takes 300 ms, as one that asks a remote service for each prediction would."""

import time

import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

SECONDS = 0.3


class SlowModel(ClassifierMixin, BaseEstimator):
    def __init__(self, model):
        self.model = model

    @property
    def classes_(self):
        return self.model.classes_

    @property
    def feature_names_in_(self):
        return self.model.feature_names_in_

    def predict_proba(self, flights: pd.DataFrame):
        time.sleep(SECONDS)
        return self.model.predict_proba(flights)

    def predict(self, flights: pd.DataFrame):
        return self.classes_[self.predict_proba(flights).argmax(axis=1)]
