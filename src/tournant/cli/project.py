"""`tournant init` and `tournant run`."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tournant.cli.options import local_actor, number, print_json, print_table, say
from tournant.config import Settings
from tournant.errors import Conflict

if TYPE_CHECKING:
    from tournant.services.context import Context


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Start a project in FOLDER: a tournant.yaml and a training script that works as it is.

    The template trains on scikit-learn's breast cancer data; change train.py and requirements.txt to your own. Existing files
    are never overwritten.
    """
    template = resources.files("tournant.cli") / "template"
    files = {entry.name: entry.read_text() for entry in template.iterdir() if entry.is_file()}
    files[".gitignore"] = ".tournant/\nbuild/\nmodel/\nmetrics.json\n"
    if (folder / "tournant.yaml").exists():
        raise Conflict(f"{folder / 'tournant.yaml'} exists already: this is a project. Run it: tournant run")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sorted(files.items()):
        target = folder / name
        if target.exists():
            say(f"kept     {target}")
            continue
        target.write_text(text.replace("{project}", folder.resolve().name))
        say(f"created  {target}")
    where = "" if folder == Path() else f"cd {folder} && "
    say(f"\nNext: {where}tournant run")


@click.command()
@click.argument("steps", nargs=-1)
@click.option(
    "--project",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder.",
)
@click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: .tournant in the project]")
@click.option("--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]")
@click.option("--force", is_flag=True, help="Run every step, cached or not.")
@click.option("--jobs", default=2, show_default=True, help="Steps at once.")
@click.option("--dry-run", is_flag=True, help="Only say which steps would run, and why.")
@click.option("--set", "settings", multiple=True, metavar="PARAM=VALUE", help="Another value for a param; repeatable.")
@click.option("--no-share", is_flag=True, help="Neither ask nor fill the project's shared step cache.")
@click.option("--no-register", is_flag=True, help="Do not register the model.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run(
    steps: tuple[str, ...],
    project: Path,
    home: str | None,
    database: str | None,
    force: bool,
    jobs: int,
    dry_run: bool,
    settings: tuple[str, ...],
    no_share: bool,
    no_register: bool,
    as_json: bool,
) -> None:
    """Run the project's pipeline (or only STEPS and what they need), and register its model.

    A step whose command, params, inputs and environment are unchanged is answered from the step cache.
    """
    from tournant.services.standing import keep_standing, read_standing, take_standing

    home_settings = Settings.load(home=home or project / ".tournant", database=database)
    asked = {"steps": steps, "params": settings, "register": not no_register}
    if not force and not dry_run:
        answer = read_standing(home_settings, project, asked)
        if answer is not None:
            return _answer(answer, as_json=as_json, again=True)

    from tournant.bootstrap.house import open_context  # SQLAlchemy and all, only where something may have to run
    from tournant.services.params import read_params
    from tournant.services.pipelines import run_project

    ctx = open_context(home_settings, actor=local_actor())
    params = read_params(settings)
    if dry_run:
        return _show_plan(ctx, project, steps, params, force=force, share=not no_share, as_json=as_json)
    before = take_standing(home_settings, project)
    result = run_project(
        ctx,
        project,
        steps=steps,
        force=force,
        jobs=jobs,
        register=not no_register,
        share=not no_share,
        params=params,
        on_progress=say,
    )
    answer = msgspec.to_builtins({"run": result.run, "model_version": result.model_version})
    answer["steps"] = [step.step for step in result.steps]
    answer["conversion"] = result.model_version.conversion.summary if result.model_version else ""
    keep_standing(home_settings, project, result.project, before, asked, answer)
    return _answer(answer, as_json=as_json)


def _answer(answer: Any, *, as_json: bool, again: bool = False) -> None:
    """Print what a run came to: now, or (`again`) when it was last run."""
    conversion, steps = answer.pop("conversion"), answer.pop("steps")
    if again:
        model = [answer["model_version"]["id"]] if answer["model_version"] else []
        say("\n".join([*(f"{name}: unchanged" for name in (*steps, *model)), "nothing changed"]))
    if as_json:
        return print_json(answer)
    for key, value in answer["run"]["metrics"].items():
        click.echo(f"  {key:<20} {number(value)}")
    if answer["model_version"]:
        click.echo(f"{answer['model_version']['id']}  conversion {conversion}")
    return None


def _show_plan(
    ctx: "Context",
    project: Path,
    steps: tuple[str, ...],
    params: Mapping[str, object],
    *,
    force: bool,
    share: bool,
    as_json: bool,
) -> None:
    from tournant.services.plans import plan_project

    plan = plan_project(ctx, project, steps=steps, force=force, share=share, params=params, on_progress=say)
    if as_json:
        return print_json(
            [{"step": p.step.name, "action": p.action, "reason": p.reason, "run": p.step.run} for p in plan]
        )
    rows = [(planned.step.name, planned.action.value, planned.reason, planned.step.run) for planned in plan]
    return print_table(("STEP", "WOULD BE", "BECAUSE", "COMMAND"), rows, empty="the pipeline has no steps")
