"""The job of one retraining: train a challenger and judge it, in a process that leaves the control plane responsive."""

import argparse
import sys
from pathlib import Path

from tournant.bootstrap.house import open_context
from tournant.bootstrap.scoring import ServedScorer
from tournant.config import Settings
from tournant.errors import TournantError
from tournant.services.challengers import train_challenger

__all__ = ["main"]


def main() -> None:
    """Run from the command line, as the retraining controller does; exit with 1 and the reason if it fails."""
    parser = argparse.ArgumentParser(prog="python -m tournant.bootstrap.retraining_job")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--database", default=None)
    parser.add_argument("--retraining", required=True)
    given = parser.parse_args()
    ctx = open_context(Settings.load(home=given.home, database=given.database), actor="retraining")
    try:
        retraining = train_challenger(ctx, given.retraining, ServedScorer(ctx), on_progress=_say)
    except TournantError as exc:
        sys.exit(f"{type(exc).__name__}: {exc.message}")
    assert retraining.gate is not None  # set by train_challenger
    _say(f"{retraining.challenger}: {retraining.gate.reason}")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the job's log


if __name__ == "__main__":
    main()
