"""`make bench AREA=…`: run an area's comparisons, print a table, and one line of JSON for machines."""

import argparse
import importlib
import json
import sys

AREAS = ("data", "rollout", "serving", "tracking", "verify")


def main() -> int:
    """Run one area; exit 1 when a figure misses what it should reach."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--quick", action="store_true", help="fewer requests, to see that it works")
    given = parser.parse_args()
    figures = importlib.import_module(f"benchmarks.{given.area}").run(quick=given.quick)
    print(f"\n{'figure':<44} {'ours':>10} {'peer':>10} {'floor':>10} {'ratio':>8} {'reach':>8}  ok")
    for name, figure in figures.items():
        cells = [figure[key] for key in ("ours", "peer", "floor", "ratio", "reach")]
        texts = ["–" if cell is None else f"{cell:,.3g}" if abs(cell) < 100 else f"{cell:,.0f}" for cell in cells]
        print(
            f"{name:<44} {texts[0]:>10} {texts[1]:>10} {texts[2]:>10} {texts[3]:>8} {texts[4]:>8}  {'yes' if figure['ok'] else 'NO'}"
        )
    print(json.dumps(figures))
    return 0 if all(figure["ok"] for figure in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
