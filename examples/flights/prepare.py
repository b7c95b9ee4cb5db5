"""Split the flights by days: the model never learns from a held-out day, nor is it evaluated on one it learned from.

Flights of one day are late together, so the day is the unit, not the row. By default every fourth day is held out: the
model then learns from the latest days too, and the held-out days are of the same kind as the others. The last week of
January 2013 was a bad one, and with `holdout: last` it alone would be the reference.
"""

import json
import os
from pathlib import Path

import duckdb
import pandas as pd

from columns import CATEGORIES, INPUTS, LABEL, NUMBERS

DAY = 86_400.0


def parameters() -> dict:
    path = os.environ.get("TOURNANT_PARAMS")
    return json.loads(Path(path).read_text()) if path else {}


def choose(day: pd.Series, how: str, every: int) -> pd.Series:
    if how == "spread":
        return (day.max() - day) % every == 0
    last = (day.max() - day.min() + 1) // every
    return day > day.max() - last


def main() -> None:
    params = parameters()
    flights = duckdb.read_parquet("data/flights.parquet").df()[[*INPUTS, LABEL, "event_time", "key"]]
    labelled = flights[flights[LABEL].notna()].sort_values(["event_time", "key"], ignore_index=True)
    print(
        f"dropped {len(flights) - len(labelled)} of {len(flights)} flights: cancelled or diverted, so without a label"
    )
    labelled[NUMBERS] = labelled[NUMBERS].astype("float32")
    labelled[CATEGORIES] = labelled[CATEGORIES].astype("object")
    held_out = choose(labelled.event_time // DAY, params.get("holdout", "spread"), params.get("holdout_every", 4))
    Path("build").mkdir(exist_ok=True)
    for name, part in (("train", labelled[~held_out]), ("test", labelled[held_out])):
        duckdb.from_df(part).write_parquet(f"build/{name}.parquet")
        print(f"{name}: {len(part)} flights, {part[LABEL].mean():.3f} late")


if __name__ == "__main__":
    main()
