"""`jingwei account`: people and systems that may come in, as the machine's own administrator gives them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.settings import settings
from geo import accounts, db, direct, docket, enrolling
from geo.catalog.roles import ROLES
from geo.cluster import reached
from geo.errors import Invalid, NotFound
from geo.language import translated
from geo.terminal import said, spoken

app = typer.Typer(no_args_is_help=True, help="Accounts: who may come in, as what, where and until when.")
console = Console(highlight=False)

Areas = Annotated[list[str] | None, typer.Option("--area", help="path of an area; may be given again")]
Categories = Annotated[list[str] | None, typer.Option("--category", help="matter of a department; may be given again")]


@contextmanager
def owner() -> Iterator[sa.Connection]:
    """A transaction of the machine's administrator, who is asked nothing."""
    made = db.engine(reached(settings().home).url(), pool=1)
    try:
        with db.translated(), made.begin() as connection:
            yield connection
    finally:
        made.dispose()


@app.command("list")
def listed() -> None:
    """Every account, with what each is appointed to now."""
    table = Table("login", "name", "as", "where", "until", "seen", box=None, pad_edge=False)
    with owner() as connection:
        for account in accounts.told(connection):
            held = [a for a in account["appointments"] if a["current"]] or [{}]
            for n, appointment in enumerate(held):
                state = "disabled" if account["disabled"] else "locked" if account["locked"] else "" if account["password"] else "no password"
                table.add_row(
                    account["login"] if n == 0 else "", account["name"] if n == 0 else "", appointment.get("role", state or "-"),
                    " ".join(appointment.get("names", [])), str(appointment.get("to") or "")[:10], str(account["seen_at"] or state)[:16],
                )
    console.print(table)


@app.command()
def make(
    login: str,
    name: Annotated[str, typer.Option(help="how people call them")] = "",
    system: Annotated[bool, typer.Option("--system", help="for another system: no password, tokens only")] = False,
    role: Annotated[str | None, typer.Option(help="appoint at once")] = None,
    area: Areas = None,
    category: Categories = None,
) -> None:
    """Make an account, and print the one-time link by which its holder sets a password."""
    with owner() as connection:
        account = accounts.make(connection, login, name, "system" if system else "person")
        if role:
            accounts.appoint(connection, account, role, area or [], category or [])
        code = None if system else accounts.slip(connection, account)
    if code:
        _slip(*code)


@app.command()
def appoint(
    login: str, role: str, area: Areas = None, category: Categories = None,
    until: Annotated[datetime | None, typer.Option(help="the last moment, local time")] = None,
) -> None:
    """Appoint an account to a role in some areas. Prints the appointment's id."""
    with owner() as connection:
        account = accounts.known(connection, login)
        console.print(str(accounts.appoint(connection, account["id"], role, area or [], category or [], until=_local(until))))


@app.command()
def dismiss(appointment: UUID) -> None:
    """End an appointment now."""
    with owner() as connection:
        accounts.dismiss(connection, appointment)


@app.command()
def body(login: str, organisation: Annotated[str, typer.Argument(help="name, code or id; empty for none")]) -> None:
    """Say which body the appointments of a department's account stand for: cases given to the body are theirs."""
    with owner() as connection:
        account = accounts.known(connection, login)
        wanted = docket.body(connection, organisation) if organisation.strip() else None
        held = [UUID(a["id"]) for a in account["appointments"] if a["current"] and a["role"] in ROLES and ROLES[a["role"]].right == "organisation"]
        if not held:
            raise Invalid("这个账号现在没有职能部门的任职。")
        for appointment in held:
            accounts.embody(connection, appointment, wanted)


@app.command("hand-over")
def hand_over(giver: str, taker: str, at: Annotated[datetime | None, typer.Option(help="local time; without, now")] = None) -> None:
    """Give all that one account is appointed to to another."""
    with owner() as connection:
        one, other = accounts.known(connection, giver), accounts.known(connection, taker)
        count = accounts.hand_over(connection, one["id"], other["id"], _local(at))
    console.print(said("移交 {count} 项任职", count=count))


@app.command()
def disable(login: str) -> None:
    """Close an account, with every session and token it has open."""
    with owner() as connection:
        accounts.disable(connection, accounts.known(connection, login)["id"])


@app.command()
def enable(login: str) -> None:
    """Open a closed account again."""
    with owner() as connection:
        accounts.disable(connection, accounts.known(connection, login)["id"], False)


@app.command()
def bind(
    login: str,
    subject: Annotated[str, typer.Argument(help="what the identity provider calls the holder (`sub`)")],
    issuer: Annotated[str, typer.Option(help="JINGWEI_OIDC_ISSUER")] = "",
) -> None:
    """Let somebody come in by the place's identity provider."""
    issuer = issuer or settings().oidc_issuer
    if not issuer:
        raise Invalid("没有设置身份认证服务:请设 JINGWEI_OIDC_ISSUER,或用 --issuer 指明。")
    with owner() as connection:
        accounts.bind(connection, accounts.known(connection, login)["id"], f"{issuer}|{subject}")


@app.command()
def unbind(login: str) -> None:
    """Take back what `bind` gave; the password stays."""
    with owner() as connection:
        accounts.bind(connection, accounts.known(connection, login)["id"], None)


@app.command()
def slip(login: str) -> None:
    """Print a one-time link by which the holder sets a new password; older ones are void."""
    with owner() as connection:
        code = accounts.slip(connection, accounts.known(connection, login)["id"])
    _slip(*code)


@app.command()
def token(
    login: str,
    title: Annotated[str, typer.Option(help="what it is for")] = "api",
    days: Annotated[int, typer.Option(min=1, max=366)] = 90,
    role: Annotated[str | None, typer.Option(help="which of its appointments, where there are several")] = None,
) -> None:
    """Print a token by which a system asks as an account. It is shown this once."""
    with owner() as connection:
        account = accounts.known(connection, login)
        held = [a for a in account["appointments"] if a["current"] and role in (None, a["role"])]
        if not held:
            raise NotFound("账号 {login} 没有这样的任职。", login=login)
        if len(held) > 1:
            raise Invalid("账号 {login} 有几项任职,请用 --role 指明一项:{roles}", login=login, roles=[a["role"] for a in held])
        text = accounts.token(connection, UUID(held[0]["id"]), title, timedelta(days=days))
    typer.echo(text)


@app.command("sql-login")
def sql_login(
    login: Annotated[str | None, typer.Argument(help="without one, those there are")] = None,
    area: Annotated[str | None, typer.Option(help="path of the one area that it is held to")] = None,
    until: Annotated[datetime | None, typer.Option(help="the last moment, local time")] = None,
    end: Annotated[bool, typer.Option("--end", help="end it now, with every connection it has open")] = False,
) -> None:
    """Make a login of one's own to the database, for QGIS or SQL, and print its password this once; again, a new password.

    It sees and writes what a worker of that area does, masked, and no record about a person.
    """
    if login is None:
        table = Table("login", "path", "area", "until", box=None, pad_edge=False)
        with owner() as connection:
            for told in direct.listed(connection):
                table.add_row(told["login"], told["path"], told["area"] or "", "ended" if told["ended"] else str(told["ends_at"] or "")[:16])
        console.print(table)
        return
    with owner() as connection:
        if end:
            direct.ended(connection, login)
            return
        if area is None:
            raise Invalid("请用 --area 指明管到哪个区域。")
        password = direct.opened(connection, login, area, _local(until))
    address = reached(settings().home).url()
    console.print(
        said("主机 {host},端口 {port},数据库 {database},用户 {login},口令 {password}", host=address.host or "", port=address.port or 5432,
             database=address.database or "", login=login, password=password), markup=False, soft_wrap=True,
    )


@app.command("import")
def enrol(
    file: Path,
    slips: Annotated[Path | None, typer.Option(help="write a page of one-time slips for the new accounts, to print")] = None,
    partly: Annotated[bool, typer.Option("--partly", help="take the rows without a fault; without, all or none")] = False,
) -> None:
    """Make and appoint whom a sheet names (登录名 姓名 角色 区域编码 类别 起始 截止), and tell of every row what became of it."""
    from maps import pages

    rows = enrolling.read(file.read_bytes(), file.name) if file.is_file() else []
    if not rows:
        raise NotFound("没有文件 {file}。", file=file.name)
    say = partial(translated, language=spoken())
    with owner() as connection:
        outcomes = enrolling.enrol(connection, rows, partly)
        fresh = dict.fromkeys(outcome.account for outcome in outcomes if outcome.done == "made" and outcome.account)
        if slips and fresh:
            place = str(connection.scalar(sa.text("SELECT name FROM instance")) or "")
            _kept(slips, pages.slips_alone([_given(connection, account) for account in fresh], place, partial(translated, language="en")))
    table = Table("row", "login", "name", "as", "where", "", box=None, pad_edge=False)
    for outcome in outcomes:
        row, told = outcome.row, say(enrolling.OUTCOMES[outcome.done])
        table.add_row(
            str(row.number), *map(escape, (row.login, row.name, row.role, row.area)),
            escape(f"{told}: {outcome.why.said(say)}" if outcome.why else told),
        )
    console.print(table)
    raise typer.Exit(1 if any(outcome.why for outcome in outcomes) else 0)


@app.command()
def sessions(
    login: str, end: Annotated[bool, typer.Option("--end", help="close them all")] = False
) -> None:
    """Where an account is signed in."""
    table = Table("opened", "seen", "until", "from", box=None, pad_edge=False)
    with owner() as connection:
        account = accounts.known(connection, login)
        for session in accounts.sessions(connection, account["id"]):
            table.add_row(*(f"{session[when]:%Y-%m-%d %H:%M}" for when in ("opened_at", "seen_at", "ends_at")), session["origin"])
        if end:
            accounts.end_sessions(connection, account["id"])
    console.print(table)


def _given(connection: sa.Connection, account: UUID) -> dict[str, object]:
    holder = accounts.one(connection, account)
    code, ends = accounts.slip(connection, account)
    return {"login": holder["login"], "name": holder["name"], "code": code, "ends": ends, "link": _link(code)}


def _kept(path: Path, text: str) -> None:
    # Whoever reads this file comes in as any of these people.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as target:
        os.fchmod(target.fileno(), 0o600)
        target.write(text)


def _link(code: str) -> str:
    return f"{settings().own_url}/slip?code={code}"


def _slip(code: str, ends: datetime) -> None:
    address = _link(code)
    console.print(said("一次性链接,{ends} 前有效:{address}", ends=f"{ends:%Y-%m-%d %H:%M}", address=address), markup=False, soft_wrap=True)


def _local(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
