"""Logins of one's own to the database, for QGIS and SQL: held to one area by `session_user`, which nobody can set.

Run by the database's administrator. Such a login sees what a worker there sees, masked, and no row about a person: reading
those leaves a trail, and a login of one's own leaves none.
"""

import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from geo import db
from geo.errors import Conflict, NotFound

# Enough for QGIS, which opens a few a project.
CONNECTIONS = 8
# A login may set these otherwise for itself, save the last two: they keep mistakes in bounds, and not ill will.
BOUNDS = {
    "search_path": "direct, jingwei, public", "statement_timeout": "60s", "idle_in_transaction_session_timeout": "10min", "lock_timeout": "5s",
    "jit": "off",
}


def opened(connection: sa.Connection, login: str, path: str, until: datetime | None = None) -> str:
    """Make a login, or give one of ours a new password, area and end. Returns the password: it is kept nowhere.

    Raises `Conflict` for a role that is not ours to give, `Invalid` for a name or an area that is none.
    """
    known = connection.scalar(sa.text("SELECT pg_has_role(oid, 'jingwei_direct', 'MEMBER') AND NOT rolsuper FROM pg_roles WHERE rolname = :login"), {"login": login})
    if known is False:
        raise Conflict("数据库里已有另一个用户叫 {login},请换一个名字。", login=login)
    # The table is asked first: its rules say what a name may be.
    connection.execute(
        sa.text(
            "INSERT INTO direct_logins (login, path, ends_at) VALUES (:login, :path, :until)"
            " ON CONFLICT (login) DO UPDATE SET path = excluded.path, ends_at = excluded.ends_at"
        ),
        {"login": login, "path": path, "until": until},
    )
    password = secrets.token_urlsafe(18)
    for statement in _made(_driver(connection), login, password, until, new=known is None):
        db.run_script(connection, statement)
    return password


def ended(connection: sa.Connection, login: str) -> None:
    """End a login now, with every connection it has open. Its name stays: what it wrote is told under it. Raises `NotFound`."""
    found = connection.execute(
        sa.text("UPDATE direct_logins SET ends_at = now() WHERE login = :login RETURNING login"), {"login": login}
    ).one_or_none()
    if found is None:
        raise NotFound("没有数据库登录 {login}。", login=login)
    db.run_script(connection, sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(login)).as_string())
    connection.execute(
        sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :login"), {"login": login}
    )


def listed(connection: sa.Connection) -> list[dict[str, Any]]:
    """The logins there are or were, each with the area it is held to and its end."""
    told = sa.text(
        "SELECT login, path, area_title(path) AS area, made_at, ends_at, coalesce(ends_at <= now(), false) AS ended FROM direct_logins ORDER BY login"
    )
    return [dict(row) for row in connection.execute(told).mappings()]


def _made(driver: "psycopg.Connection[Any]", login: str, password: str, until: datetime | None, new: bool) -> Iterator[str]:
    name = sql.Identifier(login)
    # Hashed here, so that the password is in no log of statements.
    kept = driver.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    can = "LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    yield (
        sql.SQL(f"{'CREATE' if new else 'ALTER'} ROLE {{}} {can} CONNECTION LIMIT {CONNECTIONS} PASSWORD {{}} VALID UNTIL {{}}")
        .format(name, sql.Literal(kept), sql.Literal(until.isoformat() if until else "infinity")).as_string()
    )
    yield sql.SQL("GRANT jingwei_direct TO {}").format(name).as_string()
    for setting, value in BOUNDS.items():
        shown = sql.SQL(value) if setting == "search_path" else sql.Literal(value)
        yield sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(setting), shown).as_string()


def _driver(connection: sa.Connection) -> "psycopg.Connection[Any]":
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
