"""`tournant gc`: what was deleted goes for good, and the space is free."""

import click

from tournant.cli.data import open_data
from tournant.cli.options import as_json, bytes_text, home_option, print_json, say

__all__ = ["gc"]

_SHOWN = 10  # of what is kept


@click.command()
@click.option("--older-than", default="30d", show_default=True, help="Only what was deleted before: 12h, 30d, 4w, 0s.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go, and how much space it takes.")
@as_json
@home_option
def gc(older_than: str, dry_run: bool, as_json: bool, home: str | None) -> None:
    """Free the space of deleted runs, experiments and logged models, and of content that nothing refers to.

    Until then they can be restored. A run that a registered model version came from stays on record.
    """
    from tournant.services.durations import read_duration
    from tournant.services.purging import plan_purge, purge
    from tournant.services.store_upkeep import collect_garbage

    ctx = open_data(home)
    plan = plan_purge(ctx, older_than_seconds=read_duration(older_than))
    if not dry_run:
        purge(ctx, plan)
    freed = collect_garbage(ctx, dry_run=dry_run, but=plan.takes)
    if as_json:
        return print_json(
            {
                "dry_run": dry_run,
                "runs": plan.runs,
                "experiments": plan.experiments,
                "logged_models": plan.logged_models,
                "kept": plan.kept,
                "objects": freed.objects,
                "size_bytes": freed.size_bytes,
            }
        )
    verb = "would remove" if dry_run else "removed"
    click.echo(
        f"{verb} {len(plan.runs):,} runs, {len(plan.experiments):,} experiments, {len(plan.logged_models):,} logged models;"
        f" {freed.objects:,} objects, {bytes_text(freed.size_bytes)}"
    )
    for reason in plan.kept[:_SHOWN]:
        say(f"kept: {reason}")
    if len(plan.kept) > _SHOWN:
        say(f"… and {len(plan.kept) - _SHOWN:,} more")
    return None
