"""`tournant sweep`."""

from pathlib import Path

import click

from tournant.cli.options import local_actor, number, print_json, print_table, say
from tournant.config import Settings


@click.command()
@click.option("--over", multiple=True, metavar="PARAM=VALUES", help="`depth=2,3`, `depth=1..5`, `rate=0.001..0.1:log`.")
@click.option("--metric", required=True, help="The metric that decides.")
@click.option("--minimize", is_flag=True, help="Less of it is better.  [default: more]")
@click.option(
    "--sampler",
    type=click.Choice(["grid", "random", "tpe"]),
    default="grid",
    show_default=True,
    help="Every combination, some at random, or those that Optuna's TPE finds promising (extra `optuna`).",
)
@click.option("--trials", type=click.IntRange(1), help="How many.  [default: all of a grid, else 20]")
@click.option(
    "--prune", is_flag=True, help="Stop trials that are worse than the median of others by what their steps report."
)
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
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
    sampler: str,
    trials: int | None,
    prune: bool,
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
    from tournant.bootstrap.samplers import open_sampler
    from tournant.services.sweeps import Objective, order_trials, read_space, run_sweep

    space = read_space(over)
    objective = Objective(metric=metric, maximize=not minimize, prune=prune)
    chosen = open_sampler(sampler, space, trials=trials, maximize=objective.maximize, seed=seed)
    ctx = open_context(Settings.load(home=home or project / ".tournant", database=database), actor=local_actor())
    tried = order_trials(run_sweep(ctx, project, chosen, objective, jobs=jobs, on_progress=say), objective)
    if as_json:
        return print_json(tried)
    rows = [
        (
            trial.run.name if trial.run else "failed",
            *trial.params.values(),
            number(trial.metric(metric)),
            trial.pruned or trial.failure,
        )
        for trial in tried
    ]
    print_table(("RUN", *space, metric.upper(), ""), rows, empty="no trials")
    best = " ".join(f"--set {name}={value}" for name, value in tried[0].params.items())
    return say(f"\nThe best: tournant run {best}")
