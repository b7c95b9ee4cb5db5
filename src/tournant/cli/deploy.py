"""`tournant deploy`."""

import time
from pathlib import Path
from typing import Any

import click

from tournant.cli.options import client_options, local_actor, say
from tournant.domain.deployment import Revision
from tournant.domain.rollout import Rollout
from tournant.errors import Invalid, NotFound, Unavailable
from tournant.sdk.client import Client
from tournant.sdk.transport import EmbeddedTransport
from tournant.services.native_models import NATIVE_SUFFIXES

MODEL_FILES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".onnx", ".py", *NATIVE_SUFFIXES)


@click.command()
@click.argument("what", required=False)
@click.option("--name", help="The deployment.  [default: the project's, or the model's name]")
@click.option(
    "--project",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder.",
)
@click.option(
    "--requirements", type=click.Path(exists=True, path_type=Path), help="What a model file needs, if it cannot tell."
)
@click.option(
    "--example", type=click.Path(exists=True, path_type=Path), help="A JSON list of input rows for a model file."
)
@click.option("--reason", default="", help="Kept with the revision.")
@click.option("--force", is_flag=True, help="Try a version again that was rejected before.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
@click.option("--wait", is_flag=True, help="Wait for the rollout's outcome; exit 1 unless it is promoted.")
@click.option("--timeout", default=300.0, show_default=True, help="How many seconds --wait waits.")
@client_options
def deploy(
    client: Client,
    what: str | None,
    name: str | None,
    project: Path,
    requirements: Path | None,
    example: Path | None,
    reason: str,
    force: bool,
    dry_run: bool,
    wait: bool,
    timeout: float,
) -> None:
    """Roll out WHAT: a model version, a model file, or by default the project's newest model.

    A version is flights@2 or flights@champion; a file model.pkl, .onnx, .py, XGBoost's .json or .ubj, LightGBM's .txt, PyTorch's .pt or .pt2; a project's deployment settings are those of its
    tournant.yaml. A model logged with MLflow is models:/flights@champion, models:/flights/2, runs:/RUN/model, or its folder.
    """
    if wait and isinstance(client.transport, EmbeddedTransport):
        raise Unavailable(
            "nothing runs here that could roll a version out, so there is nothing to wait for. Start it: tournant up"
        )
    logged = what is not None and (what.startswith(("models:/", "runs:/")) or (Path(what) / "MLmodel").is_file())
    bare = what is not None and what.lower().endswith(MODEL_FILES)
    if dry_run and (logged or bare):
        raise Invalid(f"{what} has to be registered before its rollout can be planned: --dry-run takes a model version")
    if what and logged:
        revisions = [_deploy_mlflow(client, what, name, reason, force=force)]
    elif what and bare:
        revisions = [_deploy_file(client, Path(what), name, requirements, example, reason)]
    elif (project / "tournant.yaml").exists():
        revisions = _deploy_project(client, project, what, name, reason, force=force, dry_run=dry_run)
    elif what:
        asked = {"name": name or what.partition("@")[0], "model_version": what, "reason": reason, "force": force}
        revisions = _ask(client, [asked], dry_run=dry_run)
    else:
        raise Invalid(
            f"there is no tournant.yaml in {project.resolve()}: name a model version or file, or start a project: tournant init"
        )
    for revision in revisions:
        click.echo(f"{revision.id}  {revision.model_version}  {revision.state.value}")
    if wait:
        _wait(client, revisions, time.monotonic() + timeout)


def _deploy_file(
    client: Client, path: Path, name: str | None, requirements: Path | None, example: Path | None, reason: str
) -> Revision:
    from tournant.bootstrap.house import open_context
    from tournant.config import Settings
    from tournant.services.project_models import register_file

    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    ctx = open_context(Settings.load(home=click.get_current_context().params.get("home")), actor=local_actor())
    version = register_file(ctx, path, name=name or path.stem, requirements=requirements, example=example)
    say(f"registered {version.id}: conversion {version.conversion.status.value} {version.conversion.reason}")
    revision: Revision = client.deployments.deploy(name=name or path.stem, model_version=version.id, reason=reason)
    return revision


def _deploy_mlflow(client: Client, what: str, name: str | None, reason: str, *, force: bool) -> Revision:
    from tournant.bootstrap.house import open_context
    from tournant.config import Settings
    from tournant.services.mlflow_models import prepare_mlflow_model

    ctx = open_context(Settings.load(home=click.get_current_context().params.get("home")), actor=local_actor())
    say(f"preparing {what}: its environment, a look inside, and the conversion")
    version = prepare_mlflow_model(ctx, what, name=name or "")
    say(f"{version.id}: conversion {version.conversion.status.value} {version.conversion.reason}")
    revision: Revision = client.deployments.deploy(
        name=name or version.model, model_version=version.id, reason=reason, force=force
    )
    return revision


def _deploy_project(
    client: Client, folder: Path, what: str | None, name: str | None, reason: str, *, force: bool, dry_run: bool
) -> list[Revision]:
    from tournant.services.projects import load_project

    project = load_project(folder)
    if not project.deployments:
        raise Invalid(f"{folder / 'tournant.yaml'} names no deployment: add a section 'deployments'")
    if name and name not in project.deployments:
        raise NotFound(f"tournant.yaml names no deployment {name!r} (it has: {', '.join(project.deployments)})")
    if project.model is None and what is None:
        raise Invalid(f"{folder / 'tournant.yaml'} names no model: add a section 'model', or say which version")
    version = what or client.models.get(name=project.model.name).versions[0].id  # type: ignore[union-attr]
    code = client.models.version(id=version).code
    asked = [
        {
            "name": deployment,
            "model_version": version,
            "config": config,
            "project": code,
            "reason": reason,
            "force": force,
        }
        for deployment, config in project.deployments.items()
        if name in (None, deployment)
    ]
    return _ask(client, asked, dry_run=dry_run)


def _ask(client: Client, asked: list[dict[str, Any]], *, dry_run: bool) -> list[Revision]:
    if not dry_run:
        return [client.deployments.deploy(**deploy) for deploy in asked]
    for deploy in asked:
        plan = client.deployments.plan(**deploy)
        if plan.rollout is None:
            click.echo(
                f"{deploy['name']}: nothing to do, {plan.revision.id} serves {plan.revision.model_version} already"
            )
            continue
        against = f" against {plan.rollout.stable}" if plan.rollout.stable else ""
        supersedes = f", superseding {plan.supersedes}" if plan.supersedes else ""
        click.echo(f"would roll {plan.revision.model_version} out as {plan.revision.id}{against}{supersedes}:")
        for step in plan.steps:
            click.echo(f"  {step}")
    return []


def _wait(client: Client, revisions: list[Revision], deadline: float) -> None:
    for revision in revisions:
        rollout = _outcome(client, revision, deadline)
        click.echo(f"{revision.id}  {rollout.phase.value}  {rollout.reason}")
        if rollout.phase.value != "promoted":
            raise click.exceptions.Exit(1)


def _outcome(client: Client, revision: Revision, deadline: float) -> Rollout:
    while True:
        rollouts: list[Rollout] = client.rollouts.list(deployment=revision.deployment)
        found = next((rollout for rollout in rollouts if rollout.revision == revision.id), None)
        if found and found.phase.final:
            return found
        if time.monotonic() > deadline:
            state = f"{found.phase.value}: {found.reason}" if found else "not rolling out yet"
            raise Unavailable(
                f"{revision.id} has no outcome yet ({state}). The rollout goes on; look at it: "
                f"tournant rollouts show {revision.deployment}; or wait longer: --timeout"
            )
        time.sleep(0.25)
