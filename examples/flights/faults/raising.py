"""A model that knows the large carriers only, and raises on the others: about 3 % of all flights."""

import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

CARRIER_NAMES = {
    "9E": "Endeavor Air",
    "AA": "American Airlines",
    "B6": "JetBlue Airways",
    "DL": "Delta Air Lines",
    "EV": "ExpressJet Airlines",
    "MQ": "Envoy Air",
    "UA": "United Air Lines",
    "US": "US Airways",
    "WN": "Southwest Airlines",
}


class RaisingModel(ClassifierMixin, BaseEstimator):
    def __init__(self, model):
        self.model = model

    @property
    def classes_(self):
        return self.model.classes_

    @property
    def feature_names_in_(self):
        return self.model.feature_names_in_

    def predict_proba(self, flights: pd.DataFrame):
        for carrier in flights.carrier:
            CARRIER_NAMES[carrier]  # KeyError
        return self.model.predict_proba(flights)

    def predict(self, flights: pd.DataFrame):
        return self.classes_[self.predict_proba(flights).argmax(axis=1)]
