"""What is declared is what is migrated: everything pg_catalog knows of one database is compared with the other.

`alembic check` is blind to CHECK constraints, defaults by expression, policies, triggers and grants.
"""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic import command

from geo import db, schema
from geo.cluster import Address
from tests.conftest import Databases, serial

CATALOGUE = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
               l.collname, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'p')
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
        WHERE c.relnamespace = 'jingwei'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped""",
    "tables": """
        SELECT relname, relkind, relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner), obj_description(oid, 'pg_class'),
               ARRAY(SELECT x.acl FROM (SELECT unnest(relacl)::text AS acl) AS x ORDER BY 1)
        FROM pg_class WHERE relnamespace = 'jingwei'::regnamespace AND relkind <> 'i'""",
    "column grants": """
        SELECT c.relname, a.attname, ARRAY(SELECT x.acl FROM (SELECT unnest(a.attacl)::text AS acl) AS x ORDER BY 1)
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'jingwei'::regnamespace AND a.attacl IS NOT NULL""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, condeferrable, condeferred, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'jingwei'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'jingwei'",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(t.oid)
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
        WHERE c.relnamespace = 'jingwei'::regnamespace AND NOT tgisinternal""",
    "policies": "SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'jingwei'",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), pg_get_userbyid(proowner),
               ARRAY(SELECT x.acl FROM (SELECT unnest(proacl)::text AS acl) AS x ORDER BY 1)
        FROM pg_proc WHERE pronamespace = 'jingwei'::regnamespace AND prokind = 'f'""",
    "schema": "SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace WHERE nspname IN ('jingwei', 'public')",
}


@pytest.fixture(scope="module")
def pair(address: Address, databases: Databases, migrated: str) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    """A database made straight from the declarations, and the migrated one."""
    declared = db.engine(address.url(database=databases()), pool=1)
    with serial(), declared.begin() as connection:
        schema.create(connection)
    by_alembic = db.engine(address.url(database=databases(migrated)), pool=1)
    yield declared, by_alembic
    declared.dispose()
    by_alembic.dispose()


def catalogued(engine: sa.Engine, of: str) -> list[tuple[str, ...]]:
    """The rows of one part of pg_catalog, as text, without what belongs to Alembic itself."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(CATALOGUE[of]).all()
    return sorted(tuple(map(str, row)) for row in rows if "alembic_version" not in str(row[0]) + str(row[1]))


@pytest.mark.parametrize("of", CATALOGUE)
def test_declared_is_migrated(pair: tuple[sa.Engine, sa.Engine], of: str) -> None:
    declared, migrated = (catalogued(engine, of) for engine in pair)
    assert declared
    assert sorted(set(declared) ^ set(migrated)) == []
    assert len(declared) == len(migrated)


def test_migrating_again_changes_nothing(pair: tuple[sa.Engine, sa.Engine], address: Address) -> None:
    _, migrated = pair
    before = {of: catalogued(migrated, of) for of in CATALOGUE}
    with serial():
        schema.migrate(migrated, address.passwords)
    assert {of: catalogued(migrated, of) for of in CATALOGUE} == before


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_a_draft_of_the_next_migration_is_empty(pair: tuple[sa.Engine, sa.Engine]) -> None:
    config = schema.alembic_config()
    with pair[1].begin() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_every_rule_has_a_name_of_ours(pair: tuple[sa.Engine, sa.Engine]) -> None:
    declared, _ = pair
    for table, name, kind, *_ in catalogued(declared, "constraints"):
        # A constraint trigger is called as a trigger is.
        if kind == "t":
            continue
        assert name.startswith(f"{table.removeprefix('jingwei.')}_"), name
        assert name.rpartition("_")[2] in ("check", "fkey", "key", "pkey", "excl", "trailed"), name


def test_no_view_sees_more_than_who_looks(pair: tuple[sa.Engine, sa.Engine]) -> None:
    views = "SELECT relname FROM pg_class WHERE relnamespace IN ('jingwei'::regnamespace, 'direct'::regnamespace) AND relkind IN ('v', 'm') AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)"
    with pair[0].connect() as connection:
        assert connection.exec_driver_sql(views).scalars().all() == []


def test_every_table_with_a_policy_binds_its_owner_too(pair: tuple[sa.Engine, sa.Engine]) -> None:
    half = "SELECT relname FROM pg_class WHERE relnamespace = 'jingwei'::regnamespace AND relrowsecurity AND NOT relforcerowsecurity"
    with pair[0].connect() as connection:
        assert connection.exec_driver_sql(half).scalars().all() == []
