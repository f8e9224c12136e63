"""`jingwei retention`: what is over, its destruction, the certificates, and what a restore must not bring back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import typer
from rich.console import Console

from api.settings import settings
from geo import db, retention
from geo.cluster import reached
from geo.retention import Due
from geo.terminal import said, spoken

app = typer.Typer(no_args_is_help=True, help="What is kept of persons: what is over, its destruction, the certificates.")
console = Console(highlight=False)


@contextmanager
def engine() -> Iterator[sa.Engine]:
    """The engine of the machine's administrator, who is asked nothing."""
    made = db.engine(reached(settings().home).url(), pool=1)
    try:
        yield made
    finally:
        made.dispose()


@contextmanager
def owner() -> Iterator[sa.Connection]:
    """A transaction of the same."""
    with engine() as made, db.translated(), made.begin() as connection:
        yield connection


@app.command("due")
def due() -> None:
    """What is over and waits for the night, a line a rule and cause."""
    with owner() as connection:
        for line in retention.due(connection):
            told = said("{what}:{count} 条,{cause},自 {since}", **_line(line), since=f"{line.since:%Y-%m-%d}")
            console.print(told, markup=False, soft_wrap=True)


@app.command("run")
def run() -> None:
    """Destroy all that is over now, without waiting for the night, and issue the certificates."""
    with engine() as made:
        before = _numbers(made)
        for line in retention.run(made, settings().home):
            console.print(said("{what}:销毁 {count} 条,{cause}", **_line(line)), markup=False, soft_wrap=True)
        for number in sorted(_numbers(made) - before):
            console.print(said("销毁证明 第 {number} 号", number=number), markup=False)


@app.command("certificates")
def certificates() -> None:
    """Every certificate, the latest first."""
    with owner() as connection:
        for told in retention.certificates(connection):
            cause = said(retention.CAUSES[told.cause])
            console.print(told.number, told.id, f"{told.issued_at:%Y-%m-%d}", cause, told.total, markup=False, soft_wrap=True)


@app.command("certificate")
def certificate(id: UUID) -> None:
    """One certificate as a page to be printed and signed; looks whether it agrees with the list of what was destroyed."""
    with owner() as connection:
        told, holds = retention.certificate(connection, id)
        zone = connection.execute(sa.text("SELECT time_zone FROM instance")).scalar_one()
    console.print(retention.printed(told, holds, spoken(), zone), markup=False, soft_wrap=True)
    raise typer.Exit(0 if holds else 1)


@app.command("replay")
def replay() -> None:
    """After a restore: destroy again what the list outside the database says was destroyed. Every start does so too."""
    with engine() as made:
        if not replayed(made):
            console.print(said("数据库不比销毁清单旧,没有要重新销毁的。"), markup=False)


@app.command("assess")
def assess(
    activation: UUID,
    until: Annotated[datetime, typer.Option(help="keep what was gathered until this day, a year at most")],
    by: Annotated[str, typer.Option(help="who made the assessment")],
    why: Annotated[str, typer.Option(help="why it has to be kept")],
    document: Annotated[str, typer.Option(help="its number")] = "",
) -> None:
    """Put off the destruction after an emergency, with an assessment that names who found it needed and why."""
    with owner() as connection:
        kept = retention.assess(connection, activation, until.replace(tzinfo=ZoneInfo(db.TIME_ZONE)), by, why, document)
    console.print(said("审查期延至 {until}", until=f"{kept:%Y-%m-%d}"), markup=False)


def replayed(made: sa.Engine) -> bool:
    """Destroy again what a restored backup brought back, and say so. Whether there was anything."""
    issued = retention.replay(made, settings().home)
    for told in issued:
        console.print(said("从备份恢复后重新销毁 {count} 条,证明编号 {id}", count=told.total, id=told.id), markup=False, soft_wrap=True)
    return bool(issued)


def _line(line: Due) -> dict[str, object]:
    return {"what": retention.named(line.noun, line.field, spoken()), "count": line.count, "cause": said(retention.CAUSES[line.cause])}


def _numbers(made: sa.Engine) -> set[int]:
    with db.translated(), made.begin() as connection:
        return {told.number for told in retention.certificates(connection)}
