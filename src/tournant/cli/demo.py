"""`tournant demo`: the whole loop on a year of real flights."""

import contextlib
import signal
import sys
from pathlib import Path

import click

from tournant.cli.options import number, say
from tournant.config import Settings
from tournant.domain.comparison import PeriodComparison
from tournant.errors import NotFound
from tournant.sdk.report import Report, write_report


@click.command()
@click.option(
    "--folder",
    default="demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to work.",
)
@click.option(
    "--example",
    default=None,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The flights project.",
)
@click.option("--full", is_flag=True, help="Replay every flight, not a fifth of them.")
@click.option("--days", type=int, default=None, help="Replay only so many days.")
@click.option("--port", default=5000, show_default=True, help="The dashboard.")
@click.option("--gateway-port", default=8080, show_default=True, help="The gateway.")
@click.option("--keep", is_flag=True, help="Leave everything running at the end, to look around.")
def demo(
    folder: Path, example: Path | None, full: bool, days: int | None, port: int, gateway_port: int, keep: bool
) -> None:
    """Take one model through 2013: train on January, then serve, watch and renew it until December.

    Three broken versions are deployed in May and the control plane is killed once; every number comes from predictions
    made through the gateway.
    """
    from tournant.sdk.story import Story

    settings = Settings.load(home=folder / "project" / ".tournant", port=port, gateway_port=gateway_port)
    story = Story(example or _example(), folder, settings, say=say, fraction=1.0 if full else 0.2, days=days)
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.closing(story):
        report = story.play()
        write_report(report, Path("report.html"))
        _print(report)
        say(f"\nreport     {Path('report.html').resolve()}")
        if keep:
            say(f"dashboard  {story.url}   (Ctrl-C stops it)")
            with contextlib.suppress(KeyboardInterrupt):
                story.wait()


def _example() -> Path:
    for place in (Path("examples/flights"), Path(__file__).parents[3] / "examples" / "flights"):
        if (place / "tournant.yaml").exists():
            return place
    raise NotFound(
        "the flights project is not here: run the demo from a clone of the repository, or name it with --example"
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _print(report: Report) -> None:
    header = f"{'month':<8} {'live version':<22} {'requests':>8} {'late':>6}  {'AUROC':>6} {'frozen':>6}  {'logloss':>7} {'frozen':>6}  live − frozen log loss (95 %)"
    click.echo("\n" + click.style(header, bold=sys.stdout.isatty()))
    for row in report.months:
        click.echo(
            _row(
                row,
                ", ".join(version.partition("@")[2] and "v" + version.partition("@")[2] for version in row.versions),
            )
        )
    click.echo(_row(report.year, ""))
    figures = report.figures
    ahead = sum(row.live_auroc > row.frozen_auroc for row in report.months if row.period >= "2013-04")
    of = sum(row.period >= "2013-04" for row in report.months)
    promoted = sum(r.state == "promoted" for r in report.retrainings)
    rejected = sum(r.state == "rejected" for r in report.retrainings)
    click.echo(
        f"\nfrom April live is ahead in AUROC in {ahead} of {of} months; challengers: {promoted} promoted, {rejected} rejected; "
        f"labels cover {100 * report.year.coverage:.1f} % of requests (cancelled and diverted flights have none)"
    )
    click.echo(
        f"client: {figures.requests:,} requests, {figures.failed} failed, {figures.over_budget} over {figures.slo_p99_ms:g} ms; "
        f"{figures.requests_per_second:,.0f} requests/s while sending; p50 {number(figures.p50_ms)}, p99 {number(figures.p99_ms)}, "
        f"p99.9 {number(figures.p999_ms)} ms; {figures.days} days in {figures.total_seconds:.0f} s"
    )
    for note in report.notes:
        click.echo(note)


def _row(row: PeriodComparison, versions: str) -> str:
    interval = f"{row.difference:+.4f} ({row.lower:+.4f} to {row.upper:+.4f})".replace("-", "−")
    return (
        f"{row.period:<8} {versions:<22} {row.requests:>8,} {100 * row.positive_share:>5.1f}%  {row.live_auroc:>6.3f} {row.frozen_auroc:>6.3f}  "
        f"{row.live_log_loss:>7.4f} {row.frozen_log_loss:>6.4f}  {interval}"
    )
