"""Connections, the one transaction bound to a caller, and the translation of driver errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg

from geo.catalog import RESOURCES
from geo.errors import BadQuery, Conflict, Forbidden, GeoError, Invalid, NotFound, TooLarge, Unavailable
from geo.resource import Audience

SEARCH_PATH = "jingwei,public"
TIME_ZONE = "Asia/Shanghai"  # of what people read; what is stored has none

# One row a class of trouble; the first that fits counts. XX000 with an interrupt is what PostGIS says when it was cancelled.
TRANSLATION: tuple[tuple[type[psycopg.Error], type[GeoError]], ...] = (
    (pg.UniqueViolation, Conflict),
    (pg.ExclusionViolation, Conflict),
    (pg.SerializationFailure, Conflict),
    (pg.DeadlockDetected, Conflict),
    (pg.LockNotAvailable, Unavailable),
    (pg.NoDataFound, NotFound),
    (pg.InsufficientPrivilege, Forbidden),
    (pg.ReadOnlySqlTransaction, Forbidden),
    (pg.QueryCanceled, Unavailable),
    (psycopg.IntegrityError, Invalid),
    (pg.DataError, Invalid),
    (pg.DiskFull, Unavailable),
    (pg.InsufficientResources, Unavailable),
    (pg.ProgramLimitExceeded, TooLarge),
    (pg.StatementTooComplex, BadQuery),
    (pg.OperatorIntervention, Unavailable),
    (psycopg.OperationalError, Unavailable),
)


@dataclass(frozen=True)
class Caller:
    """Who asks: the name in the trail, the rights role, the stretch of paths, and what they may see."""

    actor: str = "anonymous"
    role: Literal["jingwei_public", "jingwei_area"] = "jingwei_public"
    path: str = ""
    audience: Audience = Audience.PUBLIC
    acting_as: str = ""


def engine(url: str | sa.URL, pool: int = 5) -> sa.Engine:
    """An engine on our schema. Plans are not kept: one made for one caller's scope was 600 times too slow for another's."""
    return sa.create_engine(
        url,
        pool_size=pool,
        max_overflow=pool,
        pool_pre_ping=True,
        connect_args={"options": f"-csearch_path={SEARCH_PATH} -ctimezone={TIME_ZONE}", "prepare_threshold": None, "connect_timeout": 5},
    )


@contextmanager
def transaction(source: sa.Engine, caller: Caller, read_only: bool = False) -> Iterator[sa.Connection]:
    """One request, one transaction, one caller. Everything about the caller ends with the transaction, so that a
    pooled connection never carries one into the next."""
    with translated(), source.begin() as connection:
        connection.execute(
            sa.text(
                "SELECT set_config('transaction_read_only', :read_only, true), set_config('role', :role, true),"
                " set_config('jingwei.actor', :actor, true), set_config('jingwei.acting_as', :acting_as, true),"
                " set_config('jingwei.lo', :lo, true), set_config('jingwei.hi', :hi, true)"
            ),
            {
                "read_only": "on" if read_only else "off",
                "role": caller.role,
                "actor": caller.actor,
                "acting_as": caller.acting_as,
                "lo": caller.path,
                "hi": caller.path + "~",
            },
        )
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors as domain errors. A broken rule carries its name and, where one is declared, its sentence."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise meaning(error.orig) from error
    except psycopg.Error as error:
        raise meaning(error) from error
    except sa.exc.TimeoutError as error:
        raise Unavailable(retry_after=1) from error


def meaning(error: BaseException | None) -> GeoError:
    """The domain error that a driver error stands for."""
    for cause, kind in TRANSLATION:
        if isinstance(error, cause):
            return _told(error, kind)
    if isinstance(error, psycopg.InternalError) and "interrupt" in str(error).lower():
        return Unavailable(retry_after=1)
    if isinstance(error, (UnicodeError, ValueError, psycopg.DataError)):
        return Invalid()
    return GeoError()


def _told(error: psycopg.Error, kind: type[GeoError]) -> GeoError:
    rule = error.diag.constraint_name
    facts: dict[str, object] = {"rule": rule} if rule else {}
    if kind is Unavailable:
        facts["retry_after"] = 1
    if error.diag.column_name:
        facts["field"] = error.diag.column_name
    elif rule and (field := _field_of(error.diag.table_name or "", rule)):
        facts["field"] = field
    return kind(_sentence(error.diag.table_name or "", rule or ""), **facts)


def _field_of(table: str, rule: str) -> str | None:
    resource = RESOURCES.get(table)
    inner = rule.removeprefix(f"{table}_").rpartition("_")[0]
    if resource is None:
        return None
    return inner if inner == "geom" or any(field.name == inner for field in resource.all_fields) else None


def _sentence(table: str, rule: str) -> str:
    if resource := RESOURCES.get(table):
        for declared in resource.rules:
            if rule == f"{table}_{declared.name}_check":
                return declared.message
    return SENTENCES.get(rule, "")


SENTENCES = {
    "areas_code_retired_check": "这个编码属于已注销的区域,不能再给别的区域。",
    "batches_undo_check": "这一批里有的行后来被人改过,不能整批撤回。",
}


def run_script(connection: sa.Connection, script: str) -> None:
    """Run our own SQL as it is written: no parameters, and so no `%` or `:` to escape."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute(script.encode())
