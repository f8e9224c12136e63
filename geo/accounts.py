"""Giving people accounts, and what they are appointed to. The database asks who calls, and refuses (`Forbidden`).

All of these are bound to the caller's transaction; `connection` of the owner's own tools is asked nothing.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo.catalog.roles import ROLES
from geo.door import digest, new_code
from geo.errors import Invalid, NotFound
from geo.statements import run

SLIP_LASTS = timedelta(days=7)
FIRST = "admin"
# Where the people of a demonstration work; who is not named here works in the street.
GROUNDS = {
    "steward": "micro_grid", "grid_worker": "grid", "grid_leader": "grid", "community_leader": "community",
}
TEXTS = pg.ARRAY(sa.Text)
TOLD = sa.text(
    "SELECT * FROM accounts_told(CAST(:account AS uuid), CAST(:logins AS text[]), CAST(:words AS text), CAST(:role AS text),"
    " CAST(:within AS text), CAST(:standing AS text), CAST(:most AS integer), CAST(:skipped AS integer))"
)
STANDINGS = {"open": "可登录", "waiting": "还没设口令", "locked": "已锁定", "idle": "没有任职", "disabled": "已停用"}


def told(
    connection: sa.Connection, account: UUID | None = None, logins: Sequence[str] | None = None, words: str = "", role: str = "",
    within: str = "", standing: str = "", most: int | None = None, skipped: int = 0,
) -> list[dict[str, Any]]:
    """The accounts the caller may decide over or has made, by login, each with its appointments.

    Of those, the ones whose login or name has `words` in it, with a lasting appointment to a `role` or `within` an area
    (its path), and of a `standing` (`STANDINGS`); at most `most` of them, each saying the `total`.
    """
    asked = {
        "account": account, "logins": None if logins is None else list(logins), "words": words.strip(), "role": role, "within": within,
        "standing": standing, "most": most, "skipped": skipped,
    }
    return [dict(row) for row in connection.execute(TOLD, asked).mappings()]


def one(connection: sa.Connection, account: UUID) -> dict[str, Any]:
    """An account of those. Raises `NotFound`."""
    for found in told(connection, account):
        return found
    raise NotFound()


def make(connection: sa.Connection, login: str, name: str = "", kind: str = "person") -> UUID:
    """A new account: nobody's until a slip sets its password. Raises `Conflict` for a name that is taken."""
    return UUID(str(connection.scalar(sa.select(sa.func.account_made(login.strip().lower(), name.strip(), kind)))))


def disable(connection: sa.Connection, account: UUID, disabled: bool = True) -> None:
    """Close an account with everything it has open, or open it again."""
    connection.execute(sa.select(sa.func.account_disabled(account, disabled)))


def bind(connection: sa.Connection, account: UUID, subject: str | None) -> None:
    """Let the holder of a subject (`issuer|sub`) of the place's identity provider come in as an account, or with None nobody.

    Raises `Conflict` for a subject that is another account's.
    """
    connection.execute(sa.select(sa.func.account_bound(account, subject or "")))


def slip(connection: sa.Connection, account: UUID, lasting: timedelta = SLIP_LASTS) -> tuple[str, datetime]:
    """A one-time code by which the holder sets a password, and when it runs out. Shown here and never again."""
    code = new_code()
    ends = connection.scalar(sa.select(sa.func.slip_made(account, digest(code), lasting)))
    assert isinstance(ends, datetime)
    return code, ends


def appoint(
    connection: sa.Connection, account: UUID, role: str, areas: Sequence[str] = (), categories: Sequence[str] = (),
    since: datetime | None = None, until: datetime | None = None, stands_in_for: UUID | None = None,
) -> UUID:
    """Appoint an account to a role in some areas (paths), a department also for some categories of matters.

    With `stands_in_for` an appointment is lent until `until`: as it is held, or less of it.
    """
    made = sa.func.appointed(
        account, role, sa.cast(list(areas), TEXTS), sa.cast(list(categories), TEXTS), sa.cast(since, sa.DateTime(timezone=True)),
        sa.cast(until, sa.DateTime(timezone=True)), sa.cast(stands_in_for, pg.UUID()),
    )
    return UUID(str(connection.scalar(sa.select(made))))


def dismiss(connection: sa.Connection, appointment: UUID) -> None:
    """End an appointment, and whatever was lent of it, from now on."""
    connection.execute(sa.select(sa.func.appointment_ended(appointment)))


def embody(connection: sa.Connection, appointment: UUID, organisation: UUID | None) -> None:
    """Say which body an appointment of a department stands for: cases that are given to the body are its holder's."""
    connection.execute(sa.select(sa.func.appointment_embodied(appointment, organisation)))


def hand_over(connection: sa.Connection, giver: UUID, taker: UUID, at: datetime | None = None) -> int:
    """All that one is appointed to goes to another from a moment on, or nothing does. Returns how many."""
    moment = sa.cast(at, sa.DateTime(timezone=True))
    return int(connection.scalar(sa.select(sa.func.handed_over(giver, taker, moment))) or 0)


def token(connection: sa.Connection, appointment: UUID, title: str, lasting: timedelta) -> str:
    """A token by which a system asks as an appointment. Shown here and never again. It says whose server it is for."""
    instance = str(connection.scalar(sa.text("SELECT id FROM instance"))).replace("-", "")
    text = f"jw_{instance[-8:]}_{secrets.token_urlsafe(32)}"
    connection.execute(sa.select(sa.func.token_made(appointment, digest(text), title, lasting)))
    return text


def tokens(connection: sa.Connection) -> list[dict[str, Any]]:
    """The tokens that hold now, of the caller and of accounts in their hand."""
    return [dict(row) for row in connection.execute(sa.text("SELECT * FROM tokens_told()")).mappings()]


def end_token(connection: sa.Connection, token_id: UUID) -> None:
    """Revoke a token from now on."""
    connection.execute(sa.select(sa.func.token_ended(token_id)))


def sessions(connection: sa.Connection, account: UUID | None) -> list[dict[str, Any]]:
    """The open sessions of the caller, or of an account in their hand, newest first."""
    found = connection.execute(sa.text("SELECT * FROM sessions_told(CAST(:account AS uuid))"), {"account": account})
    return [dict(row) for row in found.mappings()]


def end_session(connection: sa.Connection, session: UUID) -> None:
    """Close a session of the caller's, or of an account in their hand."""
    connection.execute(sa.select(sa.func.session_ended(session)))


def end_sessions(connection: sa.Connection, account: UUID) -> int:
    """Close all sessions of an account in the caller's hand. Returns how many."""
    return int(connection.scalar(sa.select(sa.func.sessions_ended(account))) or 0)


def own(connection: sa.Connection) -> list[dict[str, Any]]:
    """What the caller is appointed to now or will be (`mine`), and what they have lent of it, with whom it is lent to or from."""
    return [dict(row) for row in connection.execute(sa.text("SELECT * FROM appointments_told()")).mappings()]


def offered(connection: sa.Connection) -> list[str]:
    """The codes of the roles that the caller may give in areas of their own, by rank."""
    return list(connection.scalars(sa.text("SELECT * FROM roles_offered()")))


def known(connection: sa.Connection, login: str) -> dict[str, Any]:
    """The account of a login name, among those of `told`. Raises `NotFound`."""
    for account in told(connection, logins=[login.strip().lower()]):
        return account
    raise NotFound("没有账号 {login}。", login=login.strip())


def colleague(connection: sa.Connection, login: str) -> UUID:
    """The account of a person who may stand in or take over, wherever they work. Raises `NotFound`."""
    found = connection.scalar(sa.select(sa.func.account_named(login)))
    if found is None:
        raise NotFound("没有账号 {login}。", login=login.strip(), field="login")
    return UUID(str(found))


def areas(connection: sa.Connection, most: int) -> list[dict[str, Any]]:
    """The areas that the caller may see, highest first, with path, code, level and name."""
    return [dict(row) for row in run(connection, "areas_offered", most=most).mappings()]


def called(connection: sa.Connection, texts: Iterable[str]) -> list[str]:
    """The paths of areas named by path, code or name, among those the caller may see; several in one text are parted by
    blanks or commas. Raises `NotFound` for none and `Invalid` for several of one name."""
    wanted = list(dict.fromkeys(filter(None, re.split(r"[\s,,、;;]+", " ".join(texts)))))
    paths: dict[str, list[str]] = {text: [] for text in wanted}
    for row in run(connection, "areas_called", wanted=wanted):
        paths[row.said].append(row.path)
    for text, found in paths.items():
        if not found:
            raise NotFound("您能看到的区域里没有 {area}。", area=text, field="area")
        if len(found) > 1:
            raise Invalid("叫 {area} 的区域不止一个,请写编码:{choices}", area=text, choices=found[:10], field="area")
    return list(dict.fromkeys(found[0] for found in paths.values()))


def matters(connection: sa.Connection, parents: bool = True) -> list[dict[str, Any]]:
    """The matters that a department may answer for: code, title, title_en. With `parents` the classes only."""
    return [dict(row) for row in run(connection, "matters_offered", parents=parents).mappings()]


def founded(connection: sa.Connection) -> str | None:
    """The slip of the first administrator, while nobody has come in yet: a new one at each start, and none afterwards."""
    found = told(connection)
    if any(account["password"] for account in found):
        return None
    first = next((account["id"] for account in found if account["login"] == FIRST), None)
    if first is None:
        first = make(connection, FIRST, "系统管理员")
        appoint(connection, first, "system_admin")
    return slip(connection, first)[0]


def exhibited(connection: sa.Connection, password_hash: str | None) -> list[dict[str, Any]]:
    """An account for each role in a demonstration, all with this password; with None they are closed: a start that is no
    demonstration has none."""
    mine = sa.text("SELECT array_agg(login) FROM accounts WHERE made_by = 'demo'")
    if password_hash is not None:
        grounds = connection.execute(
            sa.text("SELECT DISTINCT ON (level) level, path FROM areas WHERE retired_at IS NULL AND theme = 'governance'"
            " AND kind NOT IN ('unit', 'thematic') ORDER BY level, path")
        )
        first = {row.level: row.path for row in grounds}
        there = connection.scalar(mine) or []
        for role in ROLES.values():
            if role.code != "public" and role.code not in there:
                account = make(connection, role.code, role.title)
                where = [first.get(GROUNDS.get(role.code, "street")) or min(first.values())] if role.scoped else []
                held = appoint(connection, account, role.code, where, ["06", "09"] if role.right == "organisation" else [])
                if role.right == "organisation":
                    # That of the responsibility list that leads most.
                    embody(connection, held, connection.scalar(sa.text(
                        "SELECT organisation FROM duty_items WHERE organisation IS NOT NULL GROUP BY organisation ORDER BY count(*) DESC, organisation LIMIT 1"
                    )))
                connection.execute(sa.text("UPDATE accounts SET made_by = 'demo' WHERE id = :id"), {"id": account})
    connection.execute(
        sa.text(
            "UPDATE accounts SET password_hash = CAST(:hash AS text), totp_at = NULL, locked_until = NULL,"
            " disabled_at = CASE WHEN CAST(:hash AS text) IS NULL THEN now() END WHERE made_by = 'demo'"
        ),
        {"hash": password_hash},
    )
    names = connection.scalar(mine) or []
    return [account for account in told(connection) if account["login"] in names]
