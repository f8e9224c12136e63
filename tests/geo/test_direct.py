"""Logins of one's own to the database are held to one area, by who they are; none of them can make more of it."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from geo import db, direct, schema
from geo.catalog import RESOURCES
from geo.cluster import Address
from tests import town
from tests.conftest import Databases, serial

Driver = psycopg.Connection[Any]
LOGIN, OTHER, THIRD = "test_clerk", "test_clerk_two", "test_clerk_three"
PASSWORDS: dict[str, str] = {}
WEST = "990101001001"


@pytest.fixture(scope="module")
def place(address: Address, databases: Databases, peopled: str) -> Iterator[Address]:
    """A database of this module's, with a clerk of the western community and one of the eastern."""
    made = Address(address.url(database=databases(peopled)), address.passwords)
    engine = db.engine(made.url(), pool=1)
    with serial(), engine.begin() as connection:
        # What is granted on a database is not copied with it.
        schema.ground(connection)
        PASSWORDS.update({LOGIN: direct.opened(connection, LOGIN, WEST), OTHER: direct.opened(connection, OTHER, "990101001002")})
        for x, name in ((0.5, "西"), (2.5, "东")):
            for noun in ("parts", "incidents", "buildings", "compounds"):
                shape = town.point(x, 0.5) if RESOURCES[noun].geometry == "POINT" else town.box(x - 0.1, 0.4, x + 0.1, 0.6)
                town.add(connection, noun, shape, **{RESOURCES[noun].label: name})
        town.add(connection, "residents", name="欧阳锋")
    yield made
    with serial(), engine.begin() as connection:
        for login in (LOGIN, OTHER, THIRD):
            if connection.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :login"), {"login": login}):
                connection.exec_driver_sql(f"DROP OWNED BY {login}; DROP ROLE {login}")
    engine.dispose()


@pytest.fixture
def owner(place: Address) -> Iterator[sa.Connection]:
    """The administrator there, who commits."""
    engine = db.engine(place.url(), pool=1)
    with serial(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def clerk(place: Address) -> Iterator[Callable[..., Driver]]:
    """Opens connections of a clerk; what is written in them is not kept."""
    made: list[Driver] = []

    def connect(login: str = LOGIN) -> Driver:
        url = place.url().set(drivername="postgresql", username=login, password=PASSWORDS[login])
        made.append(psycopg.connect(url.render_as_string(hide_password=False)))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def names(driver: Driver, noun: str = "parts") -> list[str]:
    return [name for (name,) in driver.execute(f"SELECT {RESOURCES[noun].label} FROM {noun} ORDER BY 1").fetchall()]


WIDENING = [
    # Becoming somebody else.
    "SET ROLE jingwei_leader", "SET ROLE jingwei_area", "SET ROLE jingwei_definer", "SET ROLE jingwei_owner", "SET ROLE jingwei_web", "SET ROLE jingwei_admin",
    f"SET ROLE {OTHER}", f"SET SESSION AUTHORIZATION {OTHER}", "SET SESSION AUTHORIZATION jingwei_web", "SET SESSION AUTHORIZATION jingwei_admin",
    "SELECT set_config('session_authorization', 'jingwei_admin', false)", "SELECT set_config('role', 'jingwei_definer', false)",
    f"GRANT {OTHER} TO {LOGIN}", f"GRANT jingwei_area TO {LOGIN}", f"ALTER ROLE {LOGIN} SUPERUSER", f"ALTER ROLE {LOGIN} BYPASSRLS", f"ALTER ROLE {LOGIN} CREATEROLE",
    f"ALTER ROLE {OTHER} PASSWORD 'x'", "CREATE ROLE mine LOGIN",
    # Being held to somewhere else.
    "SELECT * FROM direct_logins", f"INSERT INTO direct_logins (login, path) VALUES ('{LOGIN}x', '99')", "UPDATE direct_logins SET path = '99'",
    "DELETE FROM direct_logins", "TRUNCATE direct_logins", "SET row_security = off; SELECT count(*) FROM parts",
    "ALTER TABLE parts DISABLE ROW LEVEL SECURITY", "DROP POLICY parts_direct ON parts", "CREATE POLICY mine ON parts USING (true)",
    "ALTER FUNCTION direct_lo() OWNER TO CURRENT_USER", "ALTER TABLE parts OWNER TO CURRENT_USER",
    # Reading what is not for it.
    "SELECT * FROM residents", "SELECT count(*) FROM residents", "SELECT * FROM households", "SELECT name FROM residents", "SELECT reporter_phone_cipher FROM incidents",
    "SELECT reporter_phone_hash FROM incidents", "SELECT phone_cipher FROM posts", "SELECT * FROM incidents", "SELECT * FROM accounts", "SELECT * FROM sessions",
    "SELECT * FROM tokens", "SELECT * FROM receipts", "SELECT * FROM changes", "SELECT * FROM trail", "SELECT * FROM unmaskings", "SELECT * FROM exports",
    "SELECT * FROM idempotency", "SELECT * FROM load_problems", "SELECT * FROM pg_authid", "SELECT * FROM pg_shadow", "SELECT * FROM pg_largeobject",
    "SELECT * FROM pg_statistic", "SELECT pg_read_file('/etc/passwd')", "SELECT pg_ls_dir('/')", "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/x')", "COPY parts (name) TO PROGRAM 'cat'", "COPY parts (name) FROM PROGRAM 'id'",
    "COPY parts (name) TO '/tmp/x'", "COPY parts (name) FROM '/etc/passwd'", "COPY residents TO STDOUT", "SELECT st_estimatedextent('jingwei', 'parts', 'geom')",
    # Making things, and taking others' away.
    "CREATE TABLE mine (x int)", "CREATE TEMP TABLE mine (x int)", "CREATE TABLE public.mine (x int)", "CREATE SCHEMA mine", "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE EXTENSION dblink",
    "CREATE EXTENSION file_fdw", "CREATE TRIGGER mine BEFORE INSERT ON parts EXECUTE FUNCTION row_versioned()", "CREATE DATABASE mine", "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')", "SELECT lo_creat(-1)", "DELETE FROM parts", "TRUNCATE parts", "DROP TABLE parts", "ALTER TABLE parts ADD COLUMN x int", "BEGIN; LOCK TABLE parts",
    "ALTER SYSTEM SET work_mem = '1GB'", "SELECT pg_reload_conf()", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'jingwei_admin'",
    "UPDATE parts SET scope = '99'", "UPDATE parts SET placement = 1", "UPDATE parts SET version = 99", "UPDATE incidents SET owner = NULL",
    "UPDATE incidents SET reporter_phone_cipher = 'x'", "INSERT INTO areas (level, name) VALUES ('grid', 'x')",
]


def test_it_sees_and_writes_its_own_area(clerk: Callable[..., Driver]) -> None:
    mine, other = clerk(), clerk(OTHER)
    for noun in ("parts", "incidents", "buildings", "compounds"):
        assert ("西" in names(mine, noun), "东" in names(mine, noun)) == (True, False)
        assert ("西" in names(other, noun), "东" in names(other, noun)) == (False, True)
    assert mine.execute("SELECT count(*) FROM areas WHERE level = 'grid'").fetchone() == (2,)
    add = "INSERT INTO parts (name, geom) VALUES ('新', ST_SetSRID(ST_Point(%s, %s), 4326))"
    mine.execute(add, town.at(0.5, 0.6))
    with pytest.raises(psycopg.errors.InsufficientPrivilege), mine.transaction():
        mine.execute(add, town.at(2.5, 0.6))
    assert mine.execute("UPDATE parts SET owner = '区' WHERE name = '东'").rowcount == 0
    assert mine.execute("UPDATE parts SET owner = '区' WHERE name = '新'").rowcount == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege), mine.transaction():
        mine.execute("UPDATE parts SET geom = ST_SetSRID(ST_Point(%s, %s), 4326) WHERE name = '新'", town.at(2.5, 0.6))
    with psycopg.connect(mine.info.dsn, password=mine.info.password) as again:
        assert again.execute("SELECT current_setting('statement_timeout'), current_setting('search_path')").fetchone() == ("1min", "direct, jingwei, public")


def test_it_cannot_widen_itself(clerk: Callable[..., Driver]) -> None:
    driver = clerk()
    driver.autocommit = True
    driver.execute("SET search_path = jingwei, public")
    let = []
    for statement in WIDENING:
        try:
            driver.execute(statement)
            let.append(statement)
        except psycopg.Error as error:
            driver.rollback()
            if not isinstance(error, (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType, psycopg.errors.FeatureNotSupported)):
                let.append(f"{statement}: {error}")
    assert "\n".join(let) == ""
    assert (names(driver), driver.execute("SELECT session_user, current_user").fetchone()) == (["西"], (LOGIN, LOGIN))


def test_it_may_call_what_is_granted_and_nothing_else(clerk: Callable[..., Driver]) -> None:
    may = "SELECT proname FROM pg_proc WHERE pronamespace = 'jingwei'::regnamespace AND has_function_privilege(oid, 'EXECUTE')"
    assert {name for (name,) in clerk().execute(may).fetchall()} == set(schema.CALLED["jingwei_direct"])


def test_settings_are_its_own_to_change_and_change_nothing(clerk: Callable[..., Driver]) -> None:
    driver = clerk()
    for setting, value in (("lo", "0"), ("hi", "~"), ("scopes", "99,0,1"), ("account", "x"), ("actor", "jingwei_admin"), ("appointment", "x"), ("categories", "01")):
        driver.execute("SELECT set_config(%s, %s, false)", (f"jingwei.{setting}", value))
    driver.execute("SET ROLE jingwei_direct")
    assert names(driver) == ["西"]
    driver.execute("SET search_path = pg_temp, public; RESET ROLE; SET search_path = jingwei, public")
    driver.execute("INSERT INTO parts (name, geom) VALUES ('新', ST_SetSRID(ST_Point(%s, %s), 4326))", town.at(0.5, 0.6))
    assert names(driver) == ["新", "西"]


def test_a_transaction_that_is_left_open_is_ended(clerk: Callable[..., Driver]) -> None:
    # What somebody began in QGIS and went to lunch with keeps locks, and old rows alive.
    driver = clerk()
    assert driver.execute("SELECT current_setting('idle_in_transaction_session_timeout')").fetchone() == ("10min",)
    driver.execute("SET idle_in_transaction_session_timeout = 50")
    driver.execute("SELECT pg_sleep(0)")
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        for _ in range(100):
            time.sleep(0.1)
            driver.execute("SELECT 1")
    assert driver.closed


def test_who_wrote_is_who_logged_in(clerk: Callable[..., Driver], owner: sa.Connection) -> None:
    driver = clerk()
    driver.execute("SELECT set_config('jingwei.actor', 'somebody', false)")
    driver.execute("UPDATE compounds SET address = '门牌'")
    driver.commit()
    assert set(owner.scalars(sa.text("SELECT actor FROM changes WHERE operation = 'change' AND noun = 'compounds'"))) == {LOGIN}


def test_others_statements_are_not_shown(clerk: Callable[..., Driver]) -> None:
    mine, other = clerk(), clerk(OTHER)
    other.execute("SELECT 'a secret of the other'")
    assert mine.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%secret%%' AND pid <> pg_backend_pid()").fetchone() == (0,)


def test_an_end_holds_in_connections_that_are_open(clerk: Callable[..., Driver], owner: sa.Connection) -> None:
    PASSWORDS[THIRD] = direct.opened(owner, THIRD, WEST)
    driver = clerk(THIRD)
    driver.autocommit = True
    assert "西" in names(driver)
    owner.execute(sa.text("UPDATE direct_logins SET ends_at = now() WHERE login = :login"), {"login": THIRD})
    assert names(driver) == [] and names(driver, "incidents") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        driver.execute("INSERT INTO parts (name, geom) VALUES ('新', ST_SetSRID(ST_Point(%s, %s), 4326))", town.at(0.5, 0.6))
    direct.ended(owner, THIRD)
    with pytest.raises(psycopg.OperationalError):
        driver.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        clerk(THIRD)
    # Given again, it has a new password.
    password = direct.opened(owner, THIRD, WEST, datetime.now(UTC) + timedelta(days=1))
    told = next(row for row in direct.listed(owner) if row["login"] == THIRD)
    assert (told["path"], told["area"], told["ended"]) == (WEST, "澜溪社区", False)
    asked = sa.text("SELECT rolconnlimit, rolvaliduntil > now() AS valid, rolcanlogin, rolsuper, rolbypassrls, rolpassword FROM pg_authid WHERE rolname = :l")
    *limits, kept = owner.execute(asked, {"l": THIRD}).one()
    assert limits == [direct.CONNECTIONS, True, True, False, False]
    assert kept.startswith("SCRAM-SHA-256$") and password not in kept and password != PASSWORDS[THIRD]


@pytest.mark.parametrize("name", ["jingwei_web", "jingwei_clerk", "pg_monitor", "Clerk", "x", "a b", "a;drop", "1a", "a" * 41, ""])
def test_names_that_are_none(connection: sa.Connection, name: str) -> None:
    with pytest.raises((db.Invalid, db.Conflict)), db.translated(), connection.begin_nested():
        direct.opened(connection, name, WEST)


def test_what_is_not_ours_is_left_alone(connection: sa.Connection) -> None:
    with pytest.raises(db.Invalid), db.translated(), connection.begin_nested():
        direct.opened(connection, "test_nowhere", "12")
    connection.exec_driver_sql("CREATE ROLE test_somebody LOGIN")
    with pytest.raises(db.Conflict):
        direct.opened(connection, "test_somebody", WEST)
    with pytest.raises(db.NotFound):
        direct.ended(connection, "test_somebody")


def test_qgis_finds_what_it_needs(clerk: Callable[..., Driver]) -> None:
    driver = clerk()
    layers = driver.execute("SELECT f_table_schema, f_table_name, f_geometry_column, srid, type FROM geometry_columns").fetchall()
    # The view of PostGIS lists what may be read whole: nothing about persons, and of incidents no cipher.
    assert {name for schema_, name, *_ in layers if schema_ == "direct"} == {n for n, r in RESOURCES.items() if r.geometry and not r.personal}
    assert ("direct", "parts", "geom", 4326, "POINT") in layers
    assert driver.execute("SELECT count(*) FROM spatial_ref_sys WHERE srid = 4326").fetchone() == (1,)
    for noun, resource in RESOURCES.items():
        if not resource.personal:
            # Whether it may read a layer at all QGIS asks by reading one row whole.
            driver.execute(f"SELECT * FROM direct.{noun} LIMIT 1")
    assert driver.execute("SELECT ST_Extent(geom)::text FROM direct.parts").fetchone() != (None,)
    rights = "SELECT has_table_privilege('direct.parts', 'DELETE'), has_any_column_privilege('direct.parts', 'UPDATE'), has_table_privilege('direct.parts', 'INSERT')"
    assert driver.execute(rights).fetchone() == (False, True, True)
    driver.execute("DECLARE c BINARY CURSOR FOR SELECT id, ST_AsBinary(geom) FROM direct.parts WHERE geom && ST_MakeEnvelope(122, 29, 123, 30, 4326)")
    assert len(driver.execute("FETCH 100 FROM c").fetchall()) == 1
    driver.execute("CLOSE c")
    made = driver.execute("INSERT INTO direct.parts (name, geom) VALUES ('新', ST_SetSRID(ST_Point(%s, %s), 4326)) RETURNING scope, version", town.at(0.5, 0.6)).fetchone()
    assert made == (town.A, 1)
    assert driver.execute("UPDATE direct.parts SET retired_at = now() WHERE name = '新'").rowcount == 1
    for refused in ("UPDATE direct.parts SET scope = '99'", "DELETE FROM direct.parts"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), driver.transaction():
            driver.execute(refused)
    if (ogrinfo := shutil.which("ogrinfo")) is None:
        pytest.fail("no ogrinfo: `make test` installs it")
    source = f"PG:host={driver.info.host} port={driver.info.port} dbname={driver.info.dbname} user={LOGIN} password={driver.info.password}"
    told = subprocess.run([ogrinfo, "-ro", source, "direct.parts"], capture_output=True, text=True, check=True).stdout
    assert "Feature Count: 1" in told and "西" in told and "POINT (122.605 29.805)" in told
