"""`tournant sweep`."""

from pathlib import Path

import click

from tournant.cli.options import local_actor, number, print_json, print_table, say
from tournant.config import Settings
from tournant.errors import Invalid


@click.command()
@click.option("--over", multiple=True, metavar="PARAM=VALUES", help="`depth=2,3`, `depth=1..5`, `rate=0.001..0.1:log`.")
@click.option("--metric", required=True, help="The metric that decides.")
@click.option("--minimize", is_flag=True, help="Less of it is better.  [default: more]")
@click.option("--random", "count", type=click.IntRange(1), help="So many combinations at random.  [default: every one]")
@click.option("--seed", default=0, show_default=True, help="Of the random combinations.")
@click.option("--jobs", default=2, show_default=True, help="Runs at once.")
@click.option(
    "--project",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder.",
)
@click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: .tournant in the project]")
@click.option("--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]")
@click.option("--json", "as_json", is_flag=True, help="Print the trials as JSON, the best first.")
def sweep(
    over: tuple[str, ...],
    metric: str,
    minimize: bool,
    count: int | None,
    seed: int,
    jobs: int,
    project: Path,
    home: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Run the project with many params, each combination as a tracked run, and say which is best.

    Nothing is registered: run the best one again with `tournant run --set`, which the step cache answers.
    """
    from tournant.bootstrap.house import open_context
    from tournant.domain.sweep import draw_random, make_grid
    from tournant.services.sweeps import order_trials, read_space, run_sweep

    space = read_space(over)
    try:
        combinations = draw_random(space, count, seed=seed) if count and space else make_grid(space) if space else []
    except ValueError as exc:
        raise Invalid(f"{exc}: name values, or say how many to draw: --random 20", place="over") from exc
    ctx = open_context(Settings.load(home=home or project / ".tournant", database=database), actor=local_actor())
    trials = order_trials(
        run_sweep(ctx, project, combinations, jobs=jobs, on_progress=say), metric, maximize=not minimize
    )
    if as_json:
        return print_json(trials)
    rows = [
        (trial.run.name if trial.run else "failed", *trial.params.values(), number(trial.metric(metric)))
        for trial in trials
    ]
    print_table(("RUN", *space, metric.upper()), rows, empty="no trials")
    best = " ".join(f"--set {name}={value}" for name, value in trials[0].params.items())
    return say(f"\nThe best: tournant run {best}")
