"""Make three broken models, each to be caught in its own way: broken/raises, broken/slow and broken/wrong_units.

Run it after the pipeline (it wraps model/model.pkl and learns from build/train.parquet). Each folder is a model as
`tournant deploy` takes it; the first two hold the module of their class beside the pickle.
"""

import shutil
import sys
from pathlib import Path

import joblib
import pandas as pd

from columns import INPUTS, LABEL
from train import build, examples, load, parameters, save

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "faults"))  # so that the pickles name the modules as they lie in the model folders

from raising import CARRIER_NAMES, RaisingModel  # noqa: E402
from slow import SlowModel  # noqa: E402


def in_other_units(flights: pd.DataFrame) -> pd.DataFrame:
    """What another team's feature code makes of a flight: hours, kilometres, °C, a share of 1, metres a second, metres."""
    return flights.assign(
        departure_minute=flights.departure_minute / 60,
        arrival_minute=flights.arrival_minute / 60,
        distance=flights.distance * 1.609,
        temp=(flights.temp - 32) / 1.8,
        dewp=(flights.dewp - 32) / 1.8,
        humid=flights.humid / 100,
        wind_speed=flights.wind_speed * 0.447,
        visib=flights.visib * 1609,
    )


def write(model: object, rows: list[dict], name: str, module: str = "") -> None:
    folder = Path("broken") / name
    save(model, rows, folder)
    if module:
        shutil.copy(HERE / "faults" / module, folder)
    print(folder)


def main() -> None:
    flights, good = load("build/train.parquet"), joblib.load("model/model.pkl")
    rows = examples(flights)
    write(RaisingModel(good), [row for row in rows if row["carrier"] in CARRIER_NAMES], "raises", "raising.py")
    write(SlowModel(good), rows, "slow", "slow.py")
    wrong = in_other_units(flights).astype({name: "float32" for name in INPUTS if flights[name].dtype != object})
    write(build(parameters()).fit(wrong[INPUTS], flights[LABEL]), rows, "wrong_units")


if __name__ == "__main__":
    main()
