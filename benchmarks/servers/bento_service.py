"""The model in BentoML: `MODEL=model.pkl bentoml serve bento_service:Bench`."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Bench:
    """One worker."""

    def __init__(self) -> None:
        """Load the model."""
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, inputs: list[list[float]]) -> list[list[float]]:
        """Give probabilities by class."""
        return self.model.predict_proba(np.array(inputs)).tolist()  # type: ignore[no-any-return]
