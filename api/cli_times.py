"""`jingwei calendar` and `jingwei limits`: which days are worked, and how long everything may take."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli_account import owner
from geo import clocks, limits, workdays
from geo.errors import NotFound
from geo.limits import BareDay, BareHour
from geo.small_tables import Reject
from geo.terminal import said

calendar = typer.Typer(no_args_is_help=True, help="Which days are worked: as published, and as the town has it otherwise.")
limiting = typer.Typer(no_args_is_help=True, help="How long stages and matters may take.")
console = Console(highlight=False)


@calendar.command("load")
def load(file: Path) -> None:
    """Have the days of a table (日期, 上班/休息, 说明) worked or not. Exit status 1 when some lines could not be read."""
    days, rejects = workdays.read(_there(file))
    with owner() as connection:
        taken = workdays.override(connection, days) if days else 0
    console.print(said("另定了 {count} 天", count=taken), markup=False)
    _rejected(rejects)


@calendar.command("show")
def show(year: Annotated[int, typer.Argument(min=2000, max=2059)]) -> None:
    """The holidays of a year, the days made up for them, and those of the town's own."""
    with owner() as connection:
        for day in workdays.calendar(connection, date(year, 1, 1), date(year, 12, 31)):
            console.print(day.day.isoformat(), said("上班") if day.working else said("休息"), day.note, markup=False)


@limiting.command("load")
def bring(
    file: Path,
    hour: Annotated[BareHour | None, typer.Option(help="what a bare hour is, where the table does not say")] = None,
    day: Annotated[BareDay | None, typer.Option(help="what a bare day is, where the table does not say")] = None,
) -> None:
    """Bring a table of limits; its matters have these from now on. Exit status 1 when some rows could not be read."""
    with owner() as connection:
        rows, rejects = limits.read(_there(file), limits.Bare(hour, day), limits.matters(connection))
        taken = limits.replace(connection, rows, file.name)
    sentence = "新增 {begun} 条时限,替换 {over} 条;其中 {unmatched} 条的事项不在本系统的事项表里,先存着"
    console.print(said(sentence, begun=taken.begun, over=taken.over, unmatched=taken.unmatched), markup=False, soft_wrap=True)
    _rejected(rejects)


@limiting.command("show")
def limits_shown() -> None:
    """The limits of stages, then of matters, a line each."""
    with owner() as connection:
        for stage in clocks.stages(connection):
            console.print(stage["state"], f"{stage['amount']:g}", stage["kind"], said("紧急") if stage["urgent"] else "", markup=False)
        for one in limits.told(connection):
            console.print(one["code"], one["title"], one["condition"], f"{one['amount']:g}", one["kind"], markup=False, soft_wrap=True)


@limiting.command("stage")
def stage(
    state: str, limit: Annotated[str, typer.Argument(help="as in a table, with its kind of time")],
    urgent: Annotated[bool, typer.Option("--urgent", help="of urgent cases")] = False,
    source: Annotated[str, typer.Option(help="who decided it")] = "",
) -> None:
    """Give a stage another limit, for the cases that come into it from now on."""
    with owner() as connection:
        limits.staged(connection, state, limit, urgent, source)


def _there(file: Path) -> Path:
    if not file.is_file():
        raise NotFound("没有文件 {file}。", file=file.name)
    return file


def _rejected(rejects: Sequence[Reject]) -> None:
    for one in rejects:
        console.print(said("第 {row} 行未收:{value} {reason}", row=one.row, value=one.value, reason=said(one.reason)), markup=False, soft_wrap=True)
    raise typer.Exit(1 if rejects else 0)
