"""Score the held-out flights: metrics.json, and the reference rows that production is compared with."""

import json
from pathlib import Path

import duckdb
import joblib
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from columns import INPUTS, LABEL
from train import load


def main() -> None:
    held_out = load("build/test.parquet")
    score = joblib.load("model/model.pkl").predict_proba(held_out[INPUTS])[:, 1]
    late = held_out[LABEL]
    metrics = {
        "auroc": float(roc_auc_score(late, score)),
        "log_loss": float(log_loss(late, score)),
        "brier": float(brier_score_loss(late, score)),
        "base_rate": float(late.mean()),
        "rows": len(held_out),
    }
    Path("metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    duckdb.from_df(held_out.assign(score=score)).write_parquet("build/reference.parquet")
    print(" ".join(f"{name}={value:.4g}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
