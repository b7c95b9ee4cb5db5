"""Tests of the data and of the model's behaviour: python tests/check.py NAME. Exit 0 is a pass.

They run in the project's folder, after the pipeline, on the model in the folder TOURNANT_MODEL (default: model).
"""

import os
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from columns import INPUTS, LABEL
from train import load

DAY = 86_400.0
MORNING, EVENING = 7 * 60.0, 19 * 60.0


def score(flights: pd.DataFrame) -> np.ndarray:
    model = joblib.load(Path(os.environ.get("TOURNANT_MODEL", "model")) / "model.pkl")
    return model.predict_proba(flights[INPUTS])[:, 1]


def departing(flights: pd.DataFrame, minute: float) -> pd.DataFrame:
    """The same flights at another time of day."""
    duration = (flights.arrival_minute - flights.departure_minute) % 1440
    return flights.assign(departure_minute=minute, arrival_minute=(minute + duration) % 1440)


def data(flights: pd.DataFrame) -> None:
    """Keys are unique, labels are 0 or 1, and the model learned from no held-out day."""
    assert flights.key.is_unique, "a flight is in the data twice"
    assert set(flights[LABEL]) == {0.0, 1.0}, f"labels are {sorted(set(flights[LABEL]))}, not 0 and 1"
    shared = set(flights.event_time // DAY) & set(load("build/train.parquet").event_time // DAY)
    assert not shared, f"{len(shared)} days are in both halves"


def probabilities(flights: pd.DataFrame) -> None:
    """Scores are probabilities, and not all the same; unknown carriers and missing weather are no reason to fail."""
    scores = score(pd.concat([flights, flights.assign(carrier="??", temp=np.nan, pressure=np.nan)]))
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1, "a score is no probability"
    assert scores.std() > 0.01, "all flights get nearly the same score"


def beats_base_rate(flights: pd.DataFrame) -> None:
    """The model tells more than the share of late flights it learned from."""
    base_rate = load("build/train.parquet")[LABEL].mean()
    ours, guess = log_loss(flights[LABEL], score(flights)), log_loss(flights[LABEL], np.full(len(flights), base_rate))
    assert ours < guess, f"log loss {ours:.4f} is no better than {guess:.4f} of the base rate"


def evening_is_later(flights: pd.DataFrame) -> None:
    """Delays add up over the day: the same flights are later in the evening than in the morning."""
    morning, evening = score(departing(flights, MORNING)).mean(), score(departing(flights, EVENING)).mean()
    assert evening > morning, f"late in the morning {morning:.3f}, in the evening {evening:.3f}"


CHECKS = {check.__name__: check for check in (data, probabilities, beats_base_rate, evening_is_later)}

if __name__ == "__main__":
    if sys.argv[1:2] == [] or sys.argv[1] not in CHECKS:
        sys.exit(f"which check? {', '.join(CHECKS)}")
    try:
        CHECKS[sys.argv[1]](load("build/test.parquet"))
    except AssertionError as failure:
        sys.exit(f"{sys.argv[1]}: {failure}")
    print(f"{sys.argv[1]}: passed")
