"""`tournant deploy`."""

from pathlib import Path

import click

from tournant.cli.options import client_options, local_actor, say
from tournant.domain.deployment import Revision
from tournant.errors import Invalid, NotFound
from tournant.sdk.client import Client

MODEL_FILES = (".pkl", ".pickle", ".joblib", ".onnx")


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
@click.option("--wait", is_flag=True, help="Wait for the rollout's outcome; exit 1 unless it is promoted.")
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
    wait: bool,
) -> None:
    """Roll out WHAT: a model version, a model file, or by default the project's newest model.

    A version is flights@2 or flights@champion; a file model.pkl or model.onnx; a project's deployment settings are those of its
    tournant.yaml.
    """
    if what and what.lower().endswith(MODEL_FILES):
        revisions = [_deploy_file(client, Path(what), name, requirements, example, reason)]
    elif (project / "tournant.yaml").exists():
        revisions = _deploy_project(client, project, what, name, reason, force=force)
    elif what:
        deployment = name or what.partition("@")[0]
        revisions = [client.deployments.deploy(name=deployment, model_version=what, reason=reason, force=force)]
    else:
        raise Invalid(
            f"there is no tournant.yaml in {project.resolve()}: name a model version or file, or start a project: tournant init"
        )
    for revision in revisions:
        click.echo(f"{revision.id}  {revision.model_version}  {revision.state.value}")
    if wait:
        _wait(client, revisions)


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


def _deploy_project(
    client: Client, folder: Path, what: str | None, name: str | None, reason: str, *, force: bool
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
    return [
        client.deployments.deploy(
            name=deployment, model_version=version, config=config, project=code, reason=reason, force=force
        )
        for deployment, config in project.deployments.items()
        if name in (None, deployment)
    ]


def _wait(client: Client, revisions: list[Revision]) -> None:
    import time

    for revision in revisions:
        while True:
            found = [r for r in client.rollouts.list(deployment=revision.deployment) if r.revision == revision.id]
            if found and found[0].phase.final:
                break
            time.sleep(0.25)
        click.echo(f"{revision.id}  {found[0].phase.value}  {found[0].reason}")
        if found[0].phase.value != "promoted":
            raise click.exceptions.Exit(1)
