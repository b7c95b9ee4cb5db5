"""Options and output that commands share."""

import getpass
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

__all__ = [
    "Command",
    "as_json",
    "bytes_text",
    "client_options",
    "home_option",
    "local_actor",
    "long",
    "number",
    "print_json",
    "print_table",
    "say",
    "when",
]

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
home_option = click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: ./.tournant]")


def client_options(command: Command) -> Command:
    """Give a command `client`: by --url, or whatever runs on --home, or --home itself."""

    def call(*args: Any, url: str | None, home: str | None, token: str | None, **kwargs: Any) -> Any:
        from tournant.sdk.client import Client  # operations and all they need

        with Client(url, home=home, token=token, actor=local_actor()) as client:
            return command(*args, client=client, **kwargs)

    call.__name__ = command.__name__
    call.__doc__ = command.__doc__
    call.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    call = click.option("--token", envvar="TOURNANT_TOKEN", help="The server's token, if it wants one.")(call)
    call = home_option(call)
    return click.option("--url", envvar="TOURNANT_URL", help="A running server's address.")(call)  # type: ignore[return-value]


def local_actor() -> str:
    """Name the person at this terminal, for the events."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"


def print_json(value: object) -> None:
    """Print JSON to stdout."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say(text: str) -> None:
    """Talk to the person (stderr), not to the next program."""
    click.echo(text, err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print aligned columns; `empty` is said when there are no rows."""
    table = [[("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not table:
        say(empty)
        return
    widths = [max(len(column), *(len(row[i]) for row in table)) for i, column in enumerate(columns)]
    bold = sys.stdout.isatty()
    click.echo(click.style(_line(columns, widths), bold=bold) if bold else _line(columns, widths))
    for row in table:
        click.echo(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def when(seconds: float | None) -> str:
    """Write a time as people read it, in UTC."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def long(started: float, ended: float | None) -> str:
    """Write a duration."""
    if ended is None:
        return ""
    seconds = ended - started
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 86_400:.1f} d"


def bytes_text(size: int) -> str:
    """Write a size as people read it."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{size:,} bytes" if unit == "bytes" else f"{amount:.3g} {unit}"


def number(value: float | None) -> str:
    """Write a number in three significant figures, with a true minus."""
    return "" if value is None else f"{value:.3g}".replace("-", "−")
