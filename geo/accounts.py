"""Giving people accounts, and what they are appointed to. The database asks who calls, and refuses (`Forbidden`).

All of these are bound to the caller's transaction; `connection` of the owner's own tools is asked nothing.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo.catalog.roles import ROLES
from geo.door import digest, new_code
from geo.errors import NotFound

SLIP_LASTS = timedelta(days=7)
FIRST = "admin"
# Where the people of a demonstration work; who is not named here works in the street.
GROUNDS = {
    "steward": "micro_grid", "grid_worker": "grid", "grid_leader": "grid", "community_leader": "community",
}
TEXTS = pg.ARRAY(sa.Text)


def told(connection: sa.Connection) -> list[dict[str, Any]]:
    """The accounts the caller may decide over or has made, by login, each with its appointments."""
    return [dict(row) for row in connection.execute(sa.text("SELECT * FROM accounts_told()")).mappings()]


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


def sessions(connection: sa.Connection) -> list[dict[str, Any]]:
    """The caller's own open sessions, newest first."""
    return [dict(row) for row in connection.execute(sa.text("SELECT * FROM sessions_told()")).mappings()]


def end_session(connection: sa.Connection, session: UUID) -> None:
    """Close a session of the caller's, or of an account in their hand."""
    connection.execute(sa.select(sa.func.session_ended(session)))


def known(connection: sa.Connection, login: str) -> dict[str, Any]:
    """The account of a login name, among those of `told`. Raises `NotFound`."""
    for account in told(connection):
        if account["login"] == login.strip().lower():
            return account
    raise NotFound("没有账号 {login}。", login=login)


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
                appoint(connection, account, role.code, where, ["06", "09"] if role.right == "organisation" else [])
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
