"""`jingwei webhooks`: which systems are told of cases, and what could not be delivered."""

from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from api.cli_account import owner
from api.settings import settings
from geo import webhooks
from geo.exchanges import EVENTS
from geo.keys import field_key
from geo.webhooks import Hosts

app = typer.Typer(no_args_is_help=True, help="Webhooks: systems that are told of cases.")
console = Console(highlight=False)


@app.command()
def add(
    title: str, url: str, scope: Annotated[str, typer.Option(help="path of an area")],
    event: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(EVENTS)}; may be given again; all without")] = None,
) -> None:
    """Have a system told from now on. Prints its secret, this once."""
    with owner() as connection:
        id, secret = webhooks.make(connection, title, url, scope, event or list(EVENTS), Hosts.of(settings().webhook_hosts), field_key(settings().home))
    console.print(str(id), secret, markup=False, soft_wrap=True)


@app.command("list")
def listed() -> None:
    """Every system, and how many deliveries of each wait, were taken, and are given up."""
    table = Table("id", "title", "url", "scope", "events", "waiting", "taken", "dead", box=None, pad_edge=False)
    with owner() as connection:
        for hook in webhooks.told(connection):
            state = "" if hook["ended_at"] is None else "-"
            counts = (str(hook[name]) for name in ("waiting", "taken", "dead"))
            table.add_row(f"{state}{hook['id']}", hook["title"], hook["url"], hook["scope"], " ".join(hook["events"]), *counts)
    console.print(table)


@app.command()
def failed(waiting: Annotated[bool, typer.Option(help="what waits for another try, not what was given up")] = False) -> None:
    """What was given up, the last first. Exit status 1 when there is any."""
    with owner() as connection:
        rows = webhooks.deliveries(connection, not waiting)
    for row in rows:
        console.print(str(row["id"]), row["title"], row["event"], str(row["incident"]), str(row["tries"]), row["answer"], markup=False, soft_wrap=True)
    raise typer.Exit(bool(rows) and not waiting)


@app.command()
def retry(id: UUID) -> None:
    """Send once more what was given up."""
    with owner() as connection:
        webhooks.retry(connection, id)


@app.command()
def end(id: UUID) -> None:
    """Tell a system nothing more."""
    with owner() as connection:
        webhooks.end(connection, id)
