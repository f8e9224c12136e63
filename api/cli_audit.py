"""`jingwei audit`: the trail, as the machine's own administrator verifies, reads and keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from api.settings import settings
from geo import db, trail
from geo.chain import Head
from geo.cluster import ADMIN, reached
from geo.terminal import said
from geo.trail import Entry, Wanted

app = typer.Typer(no_args_is_help=True, help="The trail: verify it, read it, keep it.")


@contextmanager
def owner() -> Iterator[sa.Engine]:
    """The machine's administrator, who is asked nothing but leaves a trail."""
    made = db.engine(reached(settings().home).url(), pool=1)
    try:
        with db.translated():
            yield made
    finally:
        made.dispose()


@app.command()
def verify(
    file: Annotated[Path | None, typer.Option("--from", help="an exported chain in place of the database")] = None,
    head: Annotated[list[str] | None, typer.Option(help="NUMBER:HASH, as `jingwei audit head` printed it once")] = None,
) -> None:
    """Look at the whole chain and hold it against the anchors; exit status 1 when something was done to it."""
    heads = [_head(text) for text in head or []]
    if file:
        found, known = trail.verified_file(file, settings().home, heads)
    else:
        with owner() as made:
            found, known = trail.verified(made, settings().home, heads)
    for sentence in trail.sentences(found, known):
        typer.echo(sentence)
    raise typer.Exit(0 if found.whole and known.broken is None else 1)


@app.command("head")
def ends() -> None:
    """Print where the chain ends now, to be kept elsewhere: on paper, in a bulletin, at the level above."""
    with owner() as made, made.begin() as connection:
        end = trail.head(connection)
    if end:
        typer.echo(f"{end[1].id}:{end[1].hash.hex()} {end[1].at:%Y-%m-%d %H:%M:%S%z} {end[0]}")


@app.command("list")
def listed(
    actor: str | None = None,
    action: str | None = None,
    noun: str | None = None,
    feature: Annotated[str | None, typer.Option(help="the id of a record")] = None,
    scope: Annotated[str | None, typer.Option(help="a path, with all below it")] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: Annotated[int | None, typer.Option(help="the number from which on to go back")] = None,
    most: int = 50,
) -> None:
    """Read the trail, newest first, parted by tabs. That it was read is in it, too."""
    with owner() as made:
        trail.append(made, Entry("read", ADMIN, noun="trail"))
        with made.begin() as connection:
            lines = trail.page(connection, Wanted(before, most, since, until, actor, action, noun, feature, scope))
    for line in lines:
        told = (line.actor, line.acting_as, line.action, line.noun, line.feature, line.scope, line.purpose, line.result, line.origin)
        # A row is a line, and what strangers sent stays text to the terminal.
        shown = ("".join(letter if letter.isprintable() else "�" for letter in text) or "—" for text in told)
        typer.echo("\t".join([str(line.id), f"{line.at:%Y-%m-%d %H:%M:%S}", *shown]))


@app.command()
def export(file: Path) -> None:
    """Write the whole chain to a file that `jingwei audit verify --from` looks at without the database."""
    with owner() as made:
        trail.append(made, Entry("export", ADMIN, noun="trail"))
        count = trail.export(made, file)
    typer.echo(said("{count} 行写入 {target}", count=count, target=file))


@app.command()
def prune() -> None:
    """Let rows go that are older than the term, which is never less than 183 days."""
    with owner() as made, made.begin() as connection:
        count = trail.prune(connection)
    typer.echo(said("清理了 {count} 条满期的留痕。", count=count))


@app.command()
def resume(reason: Annotated[str, typer.Option(help="which backup, why, who decided")]) -> None:
    """After a return to a backup: go on from there. Both the trail and its anchors tell of it for ever."""
    with owner() as made:
        good = trail.resume(made, settings().home, reason, ADMIN)
    typer.echo(said("从第 {id} 条之后续接,已记入留痕和锚点。", id=good.id))


def _head(text: str) -> Head:
    number, _, hash = text.partition(":")
    try:
        return Head(int(number), bytes.fromhex(hash.split()[0]))
    except (ValueError, IndexError) as error:
        raise typer.BadParameter(text) from error
