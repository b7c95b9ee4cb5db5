"""The command line: `tournant NOUN VERB`. Commands are imported when they run, so that help is instant."""

import gc
import importlib
import sys
from keyword import iskeyword

import click

from tournant.config import VERSION
from tournant.errors import TournantError

__all__ = ["main"]

COLLECT_FROM = (
    100_000  # objects: most commands end before their garbage matters, and looking for it costs a tenth of their time
)

# name: (module, what --help says)
COMMANDS = {
    "init": ("project", "Start a project in a folder"),
    "run": ("project", "Run the project's pipeline and register its model"),
    "sweep": ("sweep", "Run the project with many params, and say which are best"),
    "dag": ("comparing", "Draw the project's steps"),
    "params": ("comparing", "Compare params of runs"),
    "metrics": ("comparing", "Compare metrics of runs"),
    "plots": ("comparing", "Draw plots of runs over each other"),
    "verify": ("verify", "Recreate a model version, and say whether it is the same"),
    "export-bundle": ("bundles", "Write all that verifies a version elsewhere into one archive"),
    "import-bundle": ("bundles", "Take a version from such an archive"),
    "up": ("server", "Run tournant here, in the foreground"),
    "down": ("server", "Stop the tournant that runs on this home"),
    "status": ("server", "Show how everything is"),
    "deploy": ("deploy", "Roll out a model version, a model file, or the project's newest model"),
    "predict": ("predict", "Predict, one request or a whole file"),
    "labels": ("labels", "Say what really happened"),
    "environments": ("environments", "Locked environments, built where they are needed"),
    "data": ("datasets", "Datasets and their versions"),
    "import": ("importing", "Whole projects from elsewhere (DVC, MLflow)"),
    "remotes": ("remotes", "Other places for dataset versions: folders, S3, GCS, Azure"),
    "models": ("proofs", "Registered models, versions, aliases and signatures"),
    "runs": ("runs", "Tracked runs"),
    "deployments": ("deployments", "Deployments, revisions, rollback, shadows"),
    "rollouts": ("rollouts", "Rollouts: gates, decisions, promote, pause, abort"),
    "monitors": ("monitoring", "What is watched, and what was seen"),
    "alerts": ("monitoring", "What monitors found"),
    "retrainings": ("monitoring", "Renewals of models"),
    "notify": ("notify", "How people are told: e-mail, Slack, webhooks and the log"),
    "events": ("monitoring", "Who did what, when and why"),
    "gc": ("upkeep", "Free the space of what was deleted"),
    "demo": ("demo", "The whole loop on a year of real flights"),
}


class LazyGroup(click.Group):
    """Knows its commands' names and help, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tournant.cli.{COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, f"{name}_" if iskeyword(name) else name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="tournant")
def tournant() -> None:
    """Keep machine-learning models fresh in production: version, reproduce, deploy, monitor, retrain, deploy."""


def main() -> None:
    """Run the command line: exit 0 fine, 1 the answer is bad, 2 called wrong."""
    gc.set_threshold(COLLECT_FROM)
    try:
        code = tournant(
            prog_name="tournant", standalone_mode=False
        )  # of a command that raised Exit, click returns the code
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as exc:
        exc.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except TournantError as exc:
        click.echo(f"tournant: {exc.message}", err=True)
        sys.exit(1)
