"""Making the database what the declarations say, and keeping it so.

`migrate` runs in three steps: the ground (roles, extensions, the schema), the tables (Alembic), and the rules
(functions, triggers, policies, grants: written anew every time, so they never drift from the code).
"""

import csv
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg import sql

from geo import codes, db
from geo.catalog import CODE_LISTS, RESOURCES
from geo.resource import Audience, Place, Resource
from geo.spine import READABLE
from geo.tables import TABLES, metadata

CODES = Path(__file__).parents[1] / "data" / "codes"

# Functions that the web roles call by name; every other is a trigger's or another function's.
CALLED = {
    "jingwei_public, jingwei_area": (
        "areas_at", "nearest_area", "area_holds", "placing_level", "feature_fate", "metric_srid", "path_width", "instance_prefix", "uuid_v7",
        "areas_named", "acting", "area_counts", "shares_of", "zone_affected",
        "review_queue", "review_counts", "first_level",
    ),
    "jingwei_public, jingwei_area, jingwei_loader": ("in_force", "area_family", "code_stem", "codes_retired", "codes_proposed", "micro_grid_of"),
    "jingwei_area": ("areas_redrawn", "places_in", "local_midnight"),
    "jingwei_loader": (
        "uuid_v7", "batch_journalled", "placement_of", "coarse_point", "place_point", "areas_named", "instance_prefix",
        "placing_level", "area_holds", "acting", "metric_srid", "path_width", "area_counts", "shares_of", "scope_of_shape",
        "areas_at", "replace_points", "areas_settled", "shapes_settled", "indexes_set_aside", "index_restored", "members_written", "area_derived", "stated_now",
    ),
    "jingwei_web": ("relayed", "clock_struck"),
    "jingwei_trail": ("trail_appended",),
    "jingwei_direct": ("uuid_v7", "metric_srid", "direct_lo", "direct_hi"),
}


def migrate(engine: sa.Engine, passwords: Mapping[str, str] | None = None) -> None:
    """Bring the database of `engine` (a superuser's, or a role that may create roles) to the declared state.

    `passwords` are those of the logins, which only this server has.
    """
    with engine.begin() as connection:
        # Two processes may start at once; the second finds everything done.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7460218)")
        ground(connection)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7460218)")
        connection.exec_driver_sql("SET LOCAL ROLE jingwei_owner")
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql("RESET ROLE")
        rules(connection)
        for login, password in (passwords or {}).items():
            if login != "jingwei_admin":
                db.run_script(connection, sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(login), sql.Literal(password)).as_string())


def founded(engine: sa.Engine, name: str) -> None:
    """Make the database called `name` when there is none; `engine` is on another database of the cluster."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(sa.text("SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name)"), {"name": name}):
            db.run_script(connection, sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'").format(sql.Identifier(name)).as_string())


def create(connection: sa.Connection) -> None:
    """The same database straight from the declarations, without migrations: what they are compared with."""
    ground(connection)
    connection.exec_driver_sql("SET LOCAL ROLE jingwei_owner")
    metadata.create_all(connection)
    connection.exec_driver_sql("RESET ROLE")
    rules(connection)


def alembic_config() -> Config:
    """Alembic as this project uses it: tables and columns only."""
    config = Config()
    config.set_main_option("script_location", "geo:migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def ground(connection: sa.Connection) -> None:
    """Roles, extensions and the schema: what tables stand on."""
    for script in _scripts("ground"):
        db.run_script(connection, script.read_text(encoding="utf-8"))


def rules(connection: sa.Connection) -> None:
    """Functions, triggers, policies and grants, and the rows that every instance has."""
    for script in _scripts("rules"):
        db.run_script(connection, script.read_text(encoding="utf-8"))
    for resource in RESOURCES.values():
        for statement in (*triggers(resource), *policies(resource), *grants(resource)):
            db.run_script(connection, statement)
    for statement in (areas_settled(), review_functions()):
        db.run_script(connection, statement)
    for statement in (*_owners(connection), *_called(), *_spine_grants()):
        db.run_script(connection, statement)
    _code_lists(connection)
    codes.load(connection)
    connection.exec_driver_sql("INSERT INTO instance DEFAULT VALUES ON CONFLICT DO NOTHING")
    connection.exec_driver_sql("INSERT INTO relay (snapshot) VALUES (pg_current_snapshot()) ON CONFLICT DO NOTHING")


def triggers(resource: Resource) -> Iterator[str]:
    """What happens when a row of this noun is written, by whomever. In order of name, as PostgreSQL runs them."""
    name = resource.name
    if resource.place is Place.POINT:
        watched = ["geom", "precision", "stated_area", *filter(None, [resource.moment])]
        yield (
            f"CREATE OR REPLACE TRIGGER b_placed BEFORE INSERT OR UPDATE OF {', '.join(watched)} ON {name} FOR EACH ROW"
            f" WHEN (current_user <> 'jingwei_loader')"
            f" EXECUTE FUNCTION row_placed('{resource.moment or ''}', '{resource.coarse or ''}')"
        )
    if resource.place is Place.SHARES:
        yield (
            f"CREATE OR REPLACE TRIGGER b_scoped BEFORE INSERT OR UPDATE OF geom, precision ON {name} FOR EACH ROW"
            " EXECUTE FUNCTION row_scoped()"
        )
        yield (
            f"CREATE OR REPLACE TRIGGER d_shared AFTER INSERT OR UPDATE OF geom OR DELETE ON {name} FOR EACH ROW"
            " EXECUTE FUNCTION row_shared()"
        )
    if resource.place is Place.INHERITS:
        yield (
            f"CREATE OR REPLACE TRIGGER b_inherited BEFORE INSERT OR UPDATE OF building ON {name} FOR EACH ROW"
            " WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION row_inherited()"
        )
    if name == "posts":
        yield (
            "CREATE OR REPLACE TRIGGER b_scoped BEFORE INSERT OR UPDATE OF area ON posts FOR EACH ROW"
            " EXECUTE FUNCTION post_scoped()"
        )
    if name == "areas":
        yield (
            "CREATE OR REPLACE TRIGGER b_written BEFORE INSERT OR UPDATE ON areas FOR EACH ROW"
            " EXECUTE FUNCTION area_written()"
        )
        # Once a statement: a merger of two communities writes 160 areas, and settling for each took 19 s instead of 3.
        for trigger, event, rows in (
            ("e_settled", "INSERT", "NEW TABLE AS fresh"),
            ("e_settled_anew", "UPDATE", "OLD TABLE AS stale NEW TABLE AS fresh"),
            ("e_settled_last", "DELETE", "OLD TABLE AS stale"),
        ):
            yield (
                f"CREATE OR REPLACE TRIGGER {trigger} AFTER {event} ON areas REFERENCING {rows} FOR EACH STATEMENT"
                " WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION areas_written()"
            )
    if name == "buildings":
        yield (
            "CREATE OR REPLACE TRIGGER e_moved AFTER UPDATE OF scope, placement, geom ON buildings FOR EACH ROW"
            " WHEN ((OLD.scope, OLD.placement) IS DISTINCT FROM (NEW.scope, NEW.placement))"
            " EXECUTE FUNCTION building_moved()"
        )
    shapes = ", ".join(f"'{c.name}'" for c in TABLES[name].c if str(c.type).startswith("geometry"))
    generated = ", ".join(f"'{c.name}'" for c in TABLES[name].c if c.computed is not None)
    yield (
        f"CREATE OR REPLACE TRIGGER c_versioned BEFORE UPDATE ON {name} FOR EACH ROW"
        f" EXECUTE FUNCTION row_versioned({generated})"
    )
    # The loader writes one change row a batch; its updates are journalled like anybody's.
    yield (
        f"CREATE OR REPLACE TRIGGER z_added AFTER INSERT ON {name} FOR EACH ROW"
        f" WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION row_journalled({shapes})"
    )
    yield (
        f"CREATE OR REPLACE TRIGGER z_changed AFTER UPDATE OR DELETE ON {name} FOR EACH ROW"
        f" EXECUTE FUNCTION row_journalled({shapes})"
    )


def policies(resource: Resource) -> Iterator[str]:
    """Who may see and write which rows. One condition each, a bare range or a column: anything else costs the index."""
    name = resource.name
    yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
    for policy in ("public", "area", "direct"):
        yield f"DROP POLICY IF EXISTS {name}_{policy} ON {name}"
    if resource.audience is Audience.PUBLIC:
        seen = " AND ".join(filter(None, ("retired_at IS NULL", resource.public_rows)))
        yield f"CREATE POLICY {name}_public ON {name} FOR SELECT TO jingwei_public USING ({seen})"
    lo, hi = "current_setting('jingwei.lo', true)", "current_setting('jingwei.hi', true)"
    yield (
        f"CREATE POLICY {name}_area ON {name} TO jingwei_area USING (scope >= {lo} AND scope < {hi})"
        f" WITH CHECK (scope >= {lo} AND scope < {hi})"
    )
    yield (
        f"CREATE POLICY {name}_direct ON {name} TO jingwei_direct USING (scope >= direct_lo() AND scope < direct_hi())"
        " WITH CHECK (scope >= direct_lo() AND scope < direct_hi())"
    )


def grants(resource: Resource) -> Iterator[str]:
    """Which columns which role may read and write."""
    name, every = resource.name, [c.name for c in TABLES[resource.name].c]
    for role in ("jingwei_public", "jingwei_area", "jingwei_direct", "jingwei_loader", "jingwei_definer"):
        yield f"REVOKE ALL ON {name} FROM {role}"
    written = [*(c for f in resource.writable for c in stored_columns(f)), "id", "source", "extras", "retired_at"]
    if resource.geometry:
        written.append("geom")
    if resource.audience is Audience.PUBLIC:
        yield f"GRANT SELECT ({', '.join(public_columns(resource))}) ON {name} TO jingwei_public"
    for role in ("jingwei_area", "jingwei_direct"):
        readable = [c for c in every if role == "jingwei_area" or not c.endswith(("_cipher", "_hash"))]
        yield f"GRANT SELECT ({', '.join(readable)}) ON {name} TO {role}"
        allowed = ", ".join(c for c in written if c in every)
        yield f"GRANT INSERT ({allowed}), UPDATE ({allowed}) ON {name} TO {role}"
    yield f"GRANT SELECT, INSERT, UPDATE ON {name} TO jingwei_loader"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO jingwei_definer"


def stored_columns(field: object) -> list[str]:
    """The columns in which a field is stored."""
    from geo.tables import columns

    return [c.name for c in columns(field) if c.computed is None]  # type: ignore[arg-type]


def public_columns(resource: Resource) -> list[str]:
    """What the public may select: masked names for names, the coarse point for the point, never a secret."""
    columns = ["id", "version", "scope", "retired_at"]
    columns += ["placement"] if resource.place in (Place.POINT, Place.INHERITS) else []
    for field in resource.seen_by(Audience.PUBLIC):
        if field.stored and not (resource.coarse and field.name == "nearest_m"):
            columns.append(f"{field.name}_masked" if field.name_of_person else field.name)
    if resource.geometry:
        columns.append("geom_coarse" if resource.coarse else "geom")
    if resource.name == "areas":
        columns.append("label_point")
    return columns


def areas_settled() -> str:
    """The function that re-places whatever lies where an area was drawn, moved or withdrawn."""
    calls = "".join(
        f"    done := done + replace_points('{r.name}', '{r.moment or ''}', '{r.coarse or ''}', reach, since, until);\n"
        for r in RESOURCES.values()
        if r.place is Place.POINT
    )
    reshared = "".join(
        f"    UPDATE {r.name} SET geom = geom WHERE retired_at IS NULL AND (reach IS NULL OR geom && reach);\n"
        for r in RESOURCES.values()
        if r.place is Place.SHARES
    )
    reclaimed = "".join(
        f"    UPDATE {r.name} SET stated_area = stated_area WHERE retired_at IS NULL AND placing_reason IN ('contradiction', 'imprecise')"
        " AND btrim(stated_area) = ANY (names);\n"
        for r in RESOURCES.values()
        if r.place is Place.POINT
    )
    return f"""
CREATE OR REPLACE FUNCTION claims_settled(names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
{reclaimed}END
$$;
CREATE OR REPLACE FUNCTION shapes_settled(reach geometry) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
{reshared}END
$$;
CREATE OR REPLACE FUNCTION areas_settled(reach geometry, since timestamptz, until timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    done integer := 0;
BEGIN
{calls}    PERFORM shapes_settled(reach);
    RETURN done;
END
$$;
"""


def review_functions() -> str:
    """The functions that list and count what waits for a second look. As definer, telling what the public may know:
    a distance finer than ten metres would give a coarsened point away."""
    listed, counted = [], []
    for r in RESOURCES.values():
        if r.place not in (Place.POINT, Place.SHARES) or r.audience is not Audience.PUBLIC:
            continue
        point = "geom_coarse" if r.coarse else "ST_PointOnSurface(geom)"
        near = "nearest_area" if r.place is Place.POINT else "NULL::uuid"
        metres = "round(nearest_m / 10) * 10" if r.coarse else "nearest_m"
        living = " AND ".join(filter(None, ("n.retired_at IS NULL", "n.placing_reason IS NOT NULL", r.public_rows)))
        listed.append(
            f"SELECT '{r.name}'::text AS noun, n.id, coalesce(n.{r.label}, '') AS title, n.placing_reason AS reason,"
            f" n.stated_area, n.scope, n.{near} AS nearest, {metres} AS nearest_m, {point} AS point FROM {r.name} AS n"
            f" WHERE {living}".replace("n.NULL", "NULL")
        )
        counted.append(f"SELECT '{r.name}'::text AS noun, n.placing_reason AS reason FROM {r.name} AS n WHERE {living}")
    union, counts = "\n        UNION ALL ".join(listed), "\n        UNION ALL ".join(counted)
    return f"""
CREATE OR REPLACE FUNCTION review_queue(of_noun text, of_reason text, most integer)
RETURNS TABLE (noun text, id uuid, title text, reason text, stated_area text, scope text, area_name text,
               nearest_path text, nearest_name text, nearest_m double precision, lon double precision, lat double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT q.noun, q.id, q.title, q.reason, q.stated_area, q.scope,
        (SELECT name FROM areas WHERE path = q.scope ORDER BY valid_from DESC LIMIT 1), near.path, near.name, q.nearest_m,
        ST_X(q.point), ST_Y(q.point)
    FROM (
        {union}
    ) AS q LEFT JOIN areas AS near ON near.id = q.nearest
    WHERE (of_noun IS NULL OR q.noun = of_noun) AND (of_reason IS NULL OR q.reason = of_reason)
    ORDER BY array_position(ARRAY['overlap', 'contradiction', 'outside', 'edge', 'imprecise'], q.reason), q.noun, q.id
    LIMIT most
$$;
CREATE OR REPLACE FUNCTION review_counts() RETURNS TABLE (noun text, reason text, number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT q.noun, q.reason, count(*) FROM (
        {counts}
    ) AS q GROUP BY q.noun, q.reason ORDER BY q.noun, q.reason
$$;
"""


def _scripts(folder: str) -> list[Traversable]:
    found = (script for script in (files("geo.sql") / folder).iterdir() if script.name.endswith(".sql"))
    return sorted(found, key=lambda script: script.name)


def _owners(connection: sa.Connection) -> Iterator[str]:
    """A definer function answers with the rights of a role that nobody can be."""
    ours = connection.exec_driver_sql(
        "SELECT oid::regprocedure::text, prosecdef FROM pg_proc WHERE pronamespace = 'jingwei'::regnamespace AND prokind = 'f'"
    ).all()
    for signature, definer in ours:
        # Dropping and making an index is the right of the table's owner alone.
        owner = "jingwei_definer" if definer and not signature.startswith("index") else "jingwei_owner"
        yield f"ALTER FUNCTION {signature} OWNER TO {owner}"
        yield f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {signature} TO jingwei_definer, jingwei_owner"


def _called() -> Iterator[str]:
    for roles, names in CALLED.items():
        for name in names:
            yield f"GRANT EXECUTE ON FUNCTION {name} TO {roles}"


def _spine_grants() -> Iterator[str]:
    yield "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jingwei TO jingwei_definer"
    yield "GRANT USAGE ON ALL SEQUENCES IN SCHEMA jingwei TO jingwei_definer, jingwei_loader"
    readers = "jingwei_public, jingwei_area, jingwei_direct, jingwei_loader"
    yield f"GRANT SELECT ON {', '.join((*READABLE, *CODE_LISTS))} TO {readers}"
    yield "GRANT SELECT, INSERT ON idempotency TO jingwei_area; GRANT SELECT ON batches, load_problems TO jingwei_area"
    yield "GRANT SELECT, INSERT, UPDATE ON batches, load_problems, area_paths, placements, area_members TO jingwei_loader"


def _code_lists(connection: sa.Connection) -> None:
    for name in CODE_LISTS:
        source = CODES / f"{name}.csv"
        if not source.exists():
            continue
        with source.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text))
        # A code that left the file is retired, not deleted: records still carry it.
        connection.execute(
            sa.text(
                f"INSERT INTO {name} (code, title, title_en, parent, note)"
                " SELECT code, title, title_en, coalesce(parent, ''), coalesce(note, '')"
                " FROM json_to_recordset(CAST(:rows AS json))"
                " AS r (code text, title text, title_en text, parent text, note text)"
                " ON CONFLICT (code) DO UPDATE SET title = excluded.title, title_en = excluded.title_en,"
                " parent = excluded.parent, note = excluded.note, retired_at = NULL"
            ),
            {"rows": json.dumps(rows)},
        )
        connection.execute(
            sa.text(f"UPDATE {name} SET retired_at = now() WHERE retired_at IS NULL AND code <> ALL (:codes)"),
            {"codes": [row["code"] for row in rows]},
        )
