"""Making the database what the declarations say, and keeping it so.

`migrate` runs in three steps: the ground (roles, extensions, the schema), the tables (Alembic), and the rules
(functions, triggers, policies, grants: written anew every time, so they never drift from the code).
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy.dialects.postgresql import insert

from geo import clocks, codes, db, grading, jobs, retention, rights_requests, sealing, workdays
from geo.casework import INCIDENT_GRADES, INCIDENT_MOVES, INCIDENT_STATES
from geo.catalog import ACTIONS, CODE_LISTS, RESOURCES, workflow
from geo.catalog.roles import ROLES
from geo.resource import Audience, Field, Place, Resource
from geo.spine import LAYERS, READABLE, RETENTION_RULES, RIGHTS_MOVES
from geo.tables import TABLES, columns, metadata

CODES = Path(__file__).parents[1] / "data" / "codes"

# The sealer writes the same values under another key: neither a version nor a change. A trigger asks for its role, as
# whoever may write a cipher might set a setting.
UNSEALED = "current_user <> 'jingwei_sealer'"

# Everybody who asks through the web server; leaders are members of these.
EVERYBODY = (
    "jingwei_public, jingwei_own, jingwei_partner, jingwei_partner_several, jingwei_area, jingwei_area_several, jingwei_organisation,"
    " jingwei_organisation_several"
)

# Functions that roles call by name; every other is a trigger's or another function's.
CALLED = {
    EVERYBODY: (
        "areas_at", "nearest_area", "area_holds", "placing_level", "feature_fate", "metric_srid", "path_width", "instance_prefix", "uuid_v7",
        "acting", "tally_here", "area_counts_told", "area_title", "shares_of", "zone_affected", "posts_told",
        "review_queue", "review_counts", "first_level", "scopes_hold", "caller_may", "features_here", "incident_reported", "report_followed",
        "accounts_told", "account_made", "account_disabled", "account_bound", "slip_made", "appointed", "appointment_ended",
        "handed_over", "appointment_embodied", "sessions_told", "session_ended", "sessions_ended", "token_made", "token_ended", "tokens_told", "roles_offered",
        "account_named", "appointments_told",
        "upload_made", "partial_begun", "partial_held", "partial_taken", "upload_moved", "upload_discarded", "uploads_told", "upload_problems", "upload_rows", "upload_tile",
        "layer_shown", "layer_changed",
        "rights_received", "rights_followed", "retention_told", "certificates_told", "trail_told",
        "unmaskings_told", "unmaskings_waiting", "unmasking_reviewed", "exports_told", "export_moved",
        "names_addressed", "aliases_addressed", "address_aliased", "address_alias_ended",
        "caller_organisation", "incident_moved", "incident_moves_told", "incident_log_told", "incident_routed", "report_moved", "inbox_told", "relayed_to", "changes_told", "indicator_counts", "indicator_load",
        "kind_seconds", "worked_until", "due_after", "time_spent", "clocks_told",
        "organisation_title", "incident_actors_told", "incident_moves_each",
        "attention_told", "areas_unowned", "services_far", "priorities_told", "phones_told", "grids_quiet", "homes_apart", "scopes_held",
        "incidents_called", "whistle_told", "whistle_arrivals", "duty_calls_told", "duty_wait_set", "duty_gaps_told", "matter_gaps_told",
        "hub_waits", "parts_told", "task_assigned", "task_delays_told",
        "report_photo_kept", "report_held", "incident_photo_kept", "photo_told", "photos_told", "photo_decided", "reports_near", "report_joined", "report_told",
        "incident_moved_at", "incident_updates_told", "hotline_taken", "hotline_told",
        "observations_taken", "things_told", "thing_registered", "thing_retired", "observation_ruled", "observation_rule_ended",
        "webhook_made", "webhook_ended", "webhooks_told", "webhook_deliveries_told", "webhook_retried",
    ),
    "jingwei_area, jingwei_area_several, jingwei_organisation, jingwei_organisation_several": (
        "unmasked", "export_asked", "export_allowed", "export_opened", "export_taken",
    ),
    f"{EVERYBODY}, jingwei_loader": ("in_force", "area_family", "code_stem", "codes_retired", "codes_proposed", "micro_grid_of"),
    "jingwei_leader, jingwei_leader_several": (
        "areas_redrawn", "places_in", "local_midnight", "activation_assessed", "activation_counts", "certificates_issued", "instance_id",
        "rights_listed", "rights_phone", "rights_candidates", "rights_moved", "rights_verified", "rights_copied", "rights_found", "rights_deleted",
        "calendar_set", "stage_limit_set", "matter_limits_set",
    ),
    "jingwei_loader": (
        "uuid_v7", "batch_journalled", "placement_of", "coarse_point", "place_point", "areas_named", "instance_prefix",
        "placing_level", "area_holds", "acting", "metric_srid", "path_width", "area_counts", "shares_of", "scope_of_shape",
        "areas_at", "replace_points", "areas_settled", "shapes_settled", "indexes_set_aside", "index_restored", "place_in_house", "replace_in_houses",
        "members_written", "area_derived", "stated_now", "batch_undone", "batch_touched",
        "names_addressed", "aliases_addressed", "address_aliased", "editions_cleared", "foreign_request_taken",
    ),
    "jingwei_web": (
        "photo_files_kept", "webhooks_gathered", "webhook_claimed", "webhook_answered",
        "relayed", "clock_struck", "tallies_folded", "moment_told", "retention_due", "retention_stretch", "retention_awaited",
        "retention_rested", "certificates_issued", "instance_id", "trail_head", "incidents_swept", "duties_swept",
    ),
    "jingwei_door": (
        "account_asked", "account_of_subject", "sign_in_failed", "session_opened", "caller_of_session", "caller_of_token", "session_closed",
        "acting_chosen", "slip_asked", "slip_used", "password_changed", "subject_linked", "totp_set", "totp_used",
    ),
    "jingwei_trail": ("trail_appended",),
    "jingwei_direct": ("uuid_v7", "metric_srid", "direct_lo", "direct_hi", "features_here", "layer_shown"),
}

# The bare range by which an index is used; on a connection that has not been told a caller both ends are '' or NULL.
SCOPED = "scope >= current_setting('jingwei.lo', true) AND scope < current_setting('jingwei.hi', true)"
# The same for several areas, each of which the index is asked for; those not given are '' to '' and hold nothing.
SEVERAL = " OR ".join(SCOPED.replace(".lo'", f".lo{n}'").replace(".hi'", f".hi{n}'") for n in range(1, db.AREAS + 1))
RANGES = (("", SCOPED), ("_several", f"({SEVERAL})"))
DEPARTMENTS = ["jingwei_organisation", "jingwei_organisation_several"]
DIRECT = "scope >= direct_lo() AND scope < direct_hi()"
OWN = "owner = nullif(current_setting('jingwei.account', true), '')::uuid"


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
    jobs.founded(connection)


def rules(connection: sa.Connection) -> None:
    """Functions, triggers, policies and grants, and the rows that every instance has."""
    db.run_script(connection, trail_actions())
    for script in _scripts("rules"):
        db.run_script(connection, script.read_text(encoding="utf-8"))
    for resource in RESOURCES.values():
        for statement in (*triggers(resource), *policies(resource), *grants(resource), *direct_views(resource)):
            db.run_script(connection, statement)
    for statement in (
        areas_settled(), houses_settled(), review_functions(), fates(), sealed_fields(), row_shown(), *tallies(), *spine_policies(), retention.functions(),
        *retention.unsampled(),
    ):
        db.run_script(connection, statement)
    for statement in (*_owners(connection), *_called(), *_spine_grants(), *_sealer_grants()):
        db.run_script(connection, statement)
    _code_lists(connection)
    _roles(connection)
    codes.load(connection)
    _declared(connection)
    clocks.founded(connection)
    connection.exec_driver_sql("INSERT INTO instance DEFAULT VALUES ON CONFLICT DO NOTHING")
    workdays.published(connection)
    # Of a database that was there before its tallies.
    connection.exec_driver_sql(
        "SELECT tallies_made_anew() WHERE NOT EXISTS (SELECT FROM tallies) AND NOT EXISTS (SELECT FROM tally_changes)"
        " AND EXISTS (SELECT FROM changes)"
    )
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
        watched = ["building", *(column for column in resource.seat if column not in ("", "id"))]
        yield (
            f"CREATE OR REPLACE TRIGGER b_inherited BEFORE INSERT OR UPDATE OF {', '.join(watched)} ON {name} FOR EACH ROW"
            f" WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION row_inherited({_quoted(resource.seat)})"
        )
        if any(field.refers == name for other in RESOURCES.values() for field in other.fields if other.place is Place.INHERITS):
            yield _moving(name, "building", *watched)
    if resource.of_area:
        yield (
            f"CREATE OR REPLACE TRIGGER b_scoped BEFORE INSERT OR UPDATE OF area ON {name} FOR EACH ROW"
            " EXECUTE FUNCTION area_scoped()"
        )
    if resource.keeps_personal:
        # The loader gives every row an id that is new.
        yield (
            f"CREATE OR REPLACE TRIGGER a_anew BEFORE INSERT ON {name} FOR EACH ROW WHEN (current_user <> 'jingwei_loader')"
            " EXECUTE FUNCTION row_anew()"
        )
        for event, when in (("INSERT", "NEW.activation IS NOT NULL"), ("UPDATE", "OLD.activation IS DISTINCT FROM NEW.activation")):
            yield (
                f"CREATE OR REPLACE TRIGGER a_gathered_{event.lower()} BEFORE {event} ON {name} FOR EACH ROW WHEN ({when})"
                " EXECUTE FUNCTION row_gathered()"
            )
    if any(field.name == "verified_at" for field in resource.fields):
        yield (
            f"CREATE OR REPLACE TRIGGER a_verified BEFORE INSERT OR UPDATE OF verified_at ON {name} FOR EACH ROW"
            " EXECUTE FUNCTION row_verified()"
        )
    if name == "activations":
        yield (
            "CREATE OR REPLACE TRIGGER b_ended BEFORE INSERT OR UPDATE OF closed_at, retired_at ON activations FOR EACH ROW"
            " EXECUTE FUNCTION activation_ended()"
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
        yield _moving(name, "id", "scope", "placement")
    shapes = _quoted(c.name for c in TABLES[name].c if str(c.type).startswith("geometry"))
    generated = _quoted(c.name for c in TABLES[name].c if c.computed is not None)
    yield (
        f"CREATE OR REPLACE TRIGGER c_versioned BEFORE UPDATE ON {name} FOR EACH ROW"
        f" WHEN ({UNSEALED}) EXECUTE FUNCTION row_versioned({generated})"
    )
    # The loader writes one change row a batch; its updates are journalled like anybody's.
    yield (
        f"CREATE OR REPLACE TRIGGER z_added AFTER INSERT ON {name} FOR EACH ROW"
        f" WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION row_journalled({shapes})"
    )
    yield (
        f"CREATE OR REPLACE TRIGGER z_changed AFTER UPDATE OR DELETE ON {name} FOR EACH ROW"
        f" WHEN ({UNSEALED}) EXECUTE FUNCTION row_journalled({shapes})"
    )


def _moving(name: str, *columns: str) -> str:
    """What lies in a house moves with it, once a statement."""
    return (
        f"CREATE OR REPLACE TRIGGER e_moved AFTER UPDATE ON {name} REFERENCING OLD TABLE AS stale NEW TABLE AS fresh"
        f" FOR EACH STATEMENT EXECUTE FUNCTION houses_moved({_quoted(columns)})"
    )


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def policies(resource: Resource) -> Iterator[str]:
    """Who may see and write which rows: a bare range or a column for each right, because anything else costs the index.

    What lies in several areas is seen by all of them, whole, and written by whoever answers for all of it.
    """
    name = resource.name
    yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
    yield (
        f"DO $$ DECLARE old record; BEGIN FOR old IN SELECT policyname FROM pg_policies WHERE schemaname = 'jingwei' AND tablename = '{name}'"
        f" LOOP EXECUTE format('DROP POLICY %I ON {name}', old.policyname); END LOOP; END $$"
    )
    touching = f" OR id IN (SELECT features_here('{name}'))" if resource.place is Place.SHARES else ""
    public = " AND ".join(filter(None, ("retired_at IS NULL", resource.public_rows)))
    writer = "jingwei_leader" if resource.written_by is Audience.LEADER else "jingwei_area"
    if resource.audience is Audience.PUBLIC:
        looking = ["jingwei_public", *([] if resource.owned else ["jingwei_own"]), *([] if resource.category else DEPARTMENTS)]
        yield f"CREATE POLICY {name}_public ON {name} FOR SELECT TO {', '.join(looking)} USING ({public})"
    if resource.owned:
        yield f"CREATE POLICY {name}_own ON {name} FOR SELECT TO jingwei_own USING ({OWN} AND retired_at IS NULL)"
    for several, held in RANGES:
        if resource.audience <= Audience.PARTNER:
            yield f"CREATE POLICY {name}_partner{several} ON {name} FOR SELECT TO jingwei_partner{several} USING (({held}{touching}) AND {public})"
        yield f"CREATE POLICY {name}_area{several} ON {name} FOR SELECT TO jingwei_area{several} USING ({held}{touching})"
        yield f"CREATE POLICY {name}_area_add{several} ON {name} FOR INSERT TO {writer}{several} WITH CHECK ({held})"
        yield f"CREATE POLICY {name}_area_change{several} ON {name} FOR UPDATE TO {writer}{several} USING ({held}) WITH CHECK ({held})"
        if resource.category:
            theirs = f"{held} AND {resource.category} = ANY (string_to_array(current_setting('jingwei.categories', true), ','))"
            to = f"ON {name} FOR {{}} TO jingwei_organisation{several} USING ({theirs})"
            yield f"CREATE POLICY {name}_organisation{several} {to.format('SELECT')}"
            yield f"CREATE POLICY {name}_organisation_change{several} {to.format('UPDATE')} WITH CHECK ({theirs})"
        if resource.led:
            # Asked once a statement, so that the index is used.
            body = f"{resource.led} = (SELECT caller_organisation()) OR id IN (SELECT incidents_called())"
            yield f"CREATE POLICY {name}_led{several} ON {name} FOR SELECT TO jingwei_organisation{several} USING ({body})"
    if not resource.personal:
        yield f"CREATE POLICY {name}_direct ON {name} FOR SELECT TO jingwei_direct USING ({DIRECT}{touching})"
        yield f"CREATE POLICY {name}_direct_add ON {name} FOR INSERT TO jingwei_direct WITH CHECK ({DIRECT})"
        yield f"CREATE POLICY {name}_direct_change ON {name} FOR UPDATE TO jingwei_direct USING ({DIRECT}) WITH CHECK ({DIRECT})"


def grants(resource: Resource) -> Iterator[str]:
    """Which columns which role may read and write."""
    name, every = resource.name, [c.name for c in TABLES[resource.name].c]
    for role in (*EVERYBODY.split(", "), "jingwei_leader", "jingwei_leader_several", "jingwei_direct", "jingwei_loader", "jingwei_definer"):
        yield f"REVOKE ALL ON {name} FROM {role}"
    departments = ", ".join(DEPARTMENTS)
    if resource.audience is Audience.PUBLIC:
        looking = ["jingwei_public", "jingwei_own", *([] if resource.category else DEPARTMENTS)]
        yield f"GRANT SELECT ({', '.join(columns_seen(resource, Audience.PUBLIC))}) ON {name} TO {', '.join(looking)}"
    if resource.audience <= Audience.PARTNER:
        yield f"GRANT SELECT ({', '.join(columns_seen(resource, Audience.PARTNER))}) ON {name} TO jingwei_partner, jingwei_partner_several"
    written = [*(c for f in resource.edited for c in stored_columns(f)), "id", "source", "extras", "retired_at"]
    if resource.geometry:
        written.append("geom")
    allowed = ", ".join(c for c in written if c in every)
    writer = "jingwei_leader" if resource.written_by is Audience.LEADER else "jingwei_area"
    yield f"GRANT SELECT ({', '.join(columns_worked_with(resource))}) ON {name} TO jingwei_area, jingwei_area_several"
    yield f"GRANT INSERT ({allowed}), UPDATE ({allowed}) ON {name} TO {writer}, {writer}_several"
    if resource.category:
        yield f"GRANT SELECT ({', '.join(columns_worked_with(resource))}), UPDATE ({allowed}) ON {name} TO {departments}"
    if not resource.personal:
        # No reading of a person's record without a trail, and a login of one's own leaves none: no row about a person there.
        # Nor can it seal a number: what it wrote in place of one would destroy it.
        sealed = {c for field in resource.all_fields if field.secret for c in stored_columns(field)}
        by_hand = ", ".join(c for c in written if c in every and c not in sealed)
        yield f"GRANT SELECT ({', '.join(c for c in columns_worked_with(resource) if not c.endswith('_hash'))}) ON {name} TO jingwei_direct"
        yield f"GRANT INSERT ({by_hand}), UPDATE ({by_hand}) ON {name} TO jingwei_direct"
    yield f"GRANT SELECT, INSERT, UPDATE ON {name} TO jingwei_loader"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO jingwei_definer"


def direct_views(resource: Resource) -> Iterator[str]:
    """The living rows of a noun as people with a login of their own read and write them.

    A right to some columns of a table is not enough for QGIS: it asks for all of them, and PostGIS lists in
    `geometry_columns` only what may be read whole. The view has the rights of who looks, and no others.
    """
    yield f"DROP VIEW IF EXISTS direct.{resource.name}"
    if resource.personal:
        return
    seen = ", ".join(c for c in columns_worked_with(resource) if not c.endswith("_hash"))
    yield (
        f"CREATE VIEW direct.{resource.name} WITH (security_invoker = true) AS"
        f" SELECT {seen} FROM {resource.name} WHERE retired_at IS NULL"
    )
    yield f"ALTER VIEW direct.{resource.name} OWNER TO jingwei_owner"
    yield f"GRANT SELECT, INSERT, UPDATE ON direct.{resource.name} TO jingwei_direct"


def stored_columns(field: Field) -> list[str]:
    """The columns in which a field is stored."""
    return [c.name for c in columns(field) if c.computed is None]


def columns_seen(resource: Resource, audience: Audience) -> list[str]:
    """What those below WORKER may select: masks for names, the coarse point for the point, never a secret."""
    seen = ["id", "version", "scope", "retired_at"]
    seen += ["placement"] if resource.place in (Place.POINT, Place.INHERITS) else []
    for field in resource.seen_by(audience):
        if field.stored and not (resource.coarse and field.name == "nearest_m"):
            seen.append(f"{field.name}_masked" if field.masked_to(audience) else field.name)
    if resource.geometry:
        seen.append("geom_coarse" if resource.coarse else "geom")
    if resource.name == "areas":
        seen.append("label_point")
    return seen


def columns_worked_with(resource: Resource) -> list[str]:
    """What a worker may select: all but the ciphers and the names of residents, which are asked for one by one."""
    hidden = {field.name for field in resource.all_fields if field.name_of_person and field.masked_to(Audience.LEADER)}
    return [c.name for c in TABLES[resource.name].c if c.name not in hidden and not c.name.endswith("_cipher")]


def fates() -> str:
    """The function that tells an id that is retired from one that never was, to those who could have seen the row.

    `elsewhere` is what is not the caller's to write: it is there for everybody to know, or reaches into their area.
    """
    branches = ""
    for r in RESOURCES.values():
        public = " AND ".join(filter(None, (f"{str(r.audience is Audience.PUBLIC).lower()}", r.public_rows)))
        partner = " AND ".join(filter(None, (f"{str(r.audience <= Audience.PARTNER).lower()}", r.public_rows)))
        apart = "" if partner == "true" else f" WHEN caller_right() = 'partner' AND NOT ({partner}) THEN NULL"
        touching = (
            f" WHEN id IN (SELECT features_here('{r.name}')) THEN CASE WHEN retired_at IS NULL THEN 'elsewhere' ELSE 'retired' END"
            if r.place is Place.SHARES else ""
        )
        branches += (
            f"    WHEN '{r.name}' THEN (SELECT CASE WHEN caller_right() IN ('public', 'own', 'organisation')"
            f" THEN CASE WHEN {public} THEN CASE WHEN retired_at IS NULL THEN 'living' ELSE 'retired' END END"
            f"{apart} WHEN caller_holds(scope) THEN CASE WHEN retired_at IS NULL THEN 'living' ELSE 'retired' END{touching}"
            f" WHEN retired_at IS NULL AND {public} THEN 'elsewhere' END FROM {r.name} WHERE id = feature)\n"
        )
    return f"""
DROP FUNCTION IF EXISTS feature_fate(regclass, uuid, text, text, text);
CREATE OR REPLACE FUNCTION feature_fate(noun text, feature uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(CASE noun
{branches}    END, 'absent')
$$;
"""


def tallies() -> Iterator[str]:
    """What is summed of each noun for every area, kept up by what changes: a statement adds its differences, and the worker
    folds them in. Counting a million incidents anew took 0.3 s, and would at every look."""
    every = []
    for r in RESOURCES.values():
        if r.name == "areas":
            continue
        located = (("located", "(precision <> 'region')::integer"),) if r.place in (Place.POINT, Place.SHARES) else ()
        quantities = (("rows", "1"), *located, *r.tallied)
        summed = ", ".join(f"sum(sign * ({sql})) FILTER (WHERE retired_at IS NULL) AS {name}" for name, sql in quantities)
        named = ", ".join(f"('{name}', t.{name})" for name, _ in quantities)
        differences = (
            f"INSERT INTO tally_changes (scope, noun, quantity, value) SELECT t.scope, '{r.name}', q.quantity, q.value"
            f" FROM (SELECT s.scope, {summed} FROM ({{rows}}) AS s GROUP BY s.scope) AS t"
            f" CROSS JOIN LATERAL (VALUES {named}) AS q (quantity, value) WHERE q.value <> 0"
        )
        fresh, stale = "SELECT 1 AS sign, * FROM fresh", "SELECT -1 AS sign, * FROM stale"
        yield f"""
CREATE OR REPLACE FUNCTION {r.name}_tallied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {differences.format(rows=fresh)};
    ELSIF TG_OP = 'UPDATE' THEN
        {differences.format(rows=f"{fresh} UNION ALL {stale}")};
    ELSE
        {differences.format(rows=stale)};
    END IF;
    RETURN NULL;
END
$$;
"""
        for event, tables in (("INSERT", "NEW TABLE AS fresh"), ("UPDATE", "OLD TABLE AS stale NEW TABLE AS fresh"), ("DELETE", "OLD TABLE AS stale")):
            when = f" WHEN ({UNSEALED})" if event == "UPDATE" else ""
            yield (
                f"CREATE OR REPLACE TRIGGER y_tallied_{event.lower()} AFTER {event} ON {r.name} REFERENCING {tables}"
                f" FOR EACH STATEMENT{when} EXECUTE FUNCTION {r.name}_tallied()"
            )
        every.append(differences.format(rows=f"SELECT 1 AS sign, * FROM {r.name}"))
    counting = ";\n    ".join(every)
    yield f"""
CREATE OR REPLACE FUNCTION tallies_made_anew() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    DELETE FROM tallies;
    DELETE FROM tally_changes;
    {counting};
    SELECT tallies_folded()
$$;
"""


def sealed_fields() -> str:
    """The function that gives what is masked of some records in the caller's hand: names in clear, numbers as ciphers.

    For other definer functions only, which ask what it is for; whose hand a record is in is asked here.
    """
    branches = ""
    for r in RESOURCES.values():
        masked = [field for field in r.all_fields if field.stored and field.masked_to(Audience.LEADER) and not field.hashed]
        if not masked:
            continue
        known = ", ".join(f"('{field.name}', {int(field.audience)})" for field in masked)
        names = "".join(f" WHEN '{field.name}' THEN n.{field.name}" for field in masked if not field.secret)
        sealed = "".join(f" WHEN '{field.name}' THEN n.{field.name}_cipher" for field in masked if field.secret)
        theirs = f"n.{r.category} = ANY (string_to_array(current_setting('jingwei.categories', true), ','))" if r.category else "false"
        branches += f"""
    IF $1 = '{r.name}' THEN
        RETURN QUERY SELECT n.id, n.scope, f.name, {f"CASE f.name{names} END" if names else "NULL::text"}, {f"CASE f.name{sealed} END" if sealed else "NULL::bytea"}
        FROM {r.name} AS n CROSS JOIN (VALUES {known}) AS f (name, audience)
        WHERE n.id = ANY ($2) AND n.retired_at IS NULL AND ($3 IS NULL OR f.name = ANY ($3)) AND f.audience <= caller_audience()
          AND caller_holds(n.scope) AND (caller_right() <> 'organisation' OR {theirs});
    END IF;"""
    return f"""
CREATE OR REPLACE FUNCTION sealed_fields(noun text, ids uuid[], fields text[])
RETURNS TABLE (id uuid, scope text, field text, clear text, cipher bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN{branches}
END
$$;
"""


def row_shown() -> str:
    """The function that shows a row of a noun as JSON to who sent it in a file: no place, nothing secret but its mask, names of
    persons masked."""
    hidden = {
        r.name: [c for f in r.all_fields if f.secret and f.stored for c in stored_columns(f) if not c.endswith("_masked")] for r in RESOURCES.values()
    }
    named = {r.name: [f.name for f in r.all_fields if f.name_of_person and f.stored] for r in RESOURCES.values()}
    cases = "".join(
        f"\n        WHEN '{name}' THEN full_row - ARRAY[{_quoted(hidden[name])}]::text[]"
        + "".join(f" || jsonb_strip_nulls(jsonb_build_object('{f}', left(full_row ->> '{f}', 1) || '*'))" for f in named[name])
        for name in RESOURCES
    )
    return f"""
CREATE OR REPLACE FUNCTION row_shown(of_noun text, full_row jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE WHEN of_noun = 'layers' THEN full_row -> 'properties' ELSE CASE of_noun{cases}
    END - ARRAY['geom', 'geom_coarse', 'label_point', 'placement', 'batch', 'file_row', 'fate', 'file_version', 'seen_version', 'retired_at', 'placing_reason', 'nearest_area', 'nearest_m',
        'id', 'scope', 'source', 'version'] END
$$;
"""


def spine_policies() -> Iterator[str]:
    """Who may see which rows of the spine: shares with the feature they are of, replies with who was answered, what is on a
    layer of somebody's own with the layer, in the edition that it shows."""
    shared = [r.name for r in RESOURCES.values() if r.place is Place.SHARES]
    visible = " ".join(f"WHEN '{name}' THEN feature IN (SELECT id FROM {name})" for name in shared)
    own = "actor = current_setting('jingwei.actor', true)"
    writers = f"jingwei_area, jingwei_area_several, {', '.join(DEPARTMENTS)}"
    for table, verb, role, rule in (
        ("area_shares", "SELECT", f"{EVERYBODY}, jingwei_direct", f"USING (CASE noun {visible} END)"),
        ("idempotency", "SELECT", writers, f"USING ({own})"),
        ("idempotency", "INSERT", writers, f"WITH CHECK ({own})"),
        # Layers are few: a function may be asked of each, where of records it would cost the index.
        ("layers", "SELECT", f"{EVERYBODY}, jingwei_direct", "USING (retired_at IS NULL AND layer_shown(audience, scope))"),
        ("layer_features", "SELECT", f"{EVERYBODY}, jingwei_direct", "USING (edition IN (SELECT edition FROM layers))"),
    ):
        name = f"{table}_{'seen' if verb == 'SELECT' else 'added'}"
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
        yield f"DROP POLICY IF EXISTS {name} ON {table}"
        yield f"CREATE POLICY {name} ON {table} FOR {verb} TO {role} {rule}"


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


def houses_settled() -> str:
    """The function that places anew whatever lies in some houses: what others refer to before what refers to it."""
    calls = "".join(
        f"    PERFORM replace_in_houses('{r.name}', ARRAY[{_quoted(r.seat)}], houses);\n"
        for r in RESOURCES.values()
        if r.place is Place.INHERITS
    )
    return f"""
CREATE OR REPLACE FUNCTION houses_settled(houses uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF coalesce(cardinality(houses), 0) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM buildings WHERE id = ANY (houses) ORDER BY id FOR NO KEY UPDATE;
{calls}END
$$;
"""


def trail_actions() -> str:
    """The function that knows what may be told of in the trail."""
    codes = ", ".join(f"'{action.code}'" for action in ACTIONS)
    return (
        "CREATE OR REPLACE FUNCTION trail_actions() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS"
        f" $$ SELECT ARRAY[{codes}] $$"
    )


def review_functions() -> str:
    """The functions that list and count what waits for a second look, to the public everywhere and to who answers for an
    area there. As definer, telling what the public may know: a distance finer than ten metres would give a coarsened
    point away."""
    listed, counted = [], []
    for r in RESOURCES.values():
        if r.place not in (Place.POINT, Place.SHARES) or r.audience is not Audience.PUBLIC:
            continue
        point = "geom_coarse" if r.coarse else "ST_PointOnSurface(geom)"
        near = "nearest_area" if r.place is Place.POINT else "NULL::uuid"
        metres = "round(nearest_m / 10) * 10" if r.coarse else "nearest_m"
        # A department works on its category and is the public here; a partner answers for an area, and sees what the public may.
        living = (
            "n.retired_at IS NULL AND n.placing_reason IS NOT NULL"
            " AND (caller_right() IN ('public', 'own', 'organisation') OR caller_holds(n.scope))"
        )
        if r.public_rows:
            living += f" AND (caller_right() IN ('owner', 'direct', 'area', 'leader') OR {r.public_rows})"
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
    for role in (*EVERYBODY.split(", "), "jingwei_direct"):
        yield f"REVOKE ALL ON {', '.join((*READABLE, 'idempotency', 'batches', 'load_problems', 'roles', *CODE_LISTS))} FROM {role}"
    yield f"GRANT SELECT ON {', '.join((*READABLE, 'roles', *CODE_LISTS))} TO {EVERYBODY}, jingwei_direct, jingwei_loader"
    yield f"GRANT SELECT, INSERT ON idempotency TO jingwei_area, jingwei_area_several, {', '.join(DEPARTMENTS)}"
    yield "GRANT SELECT, INSERT, UPDATE ON batches, load_problems, area_paths, placements, area_members TO jingwei_loader"
    # What was wrong with a file is told anew when it is read anew.
    yield "GRANT DELETE ON load_problems TO jingwei_loader"
    yield "GRANT SELECT ON uploads, mappings, appointments, changes TO jingwei_loader"
    yield (
        "GRANT UPDATE (state, moved_at, undoing, noun, done, expected, told, counts, refusal, file_key_cipher) ON uploads TO jingwei_loader"
    )
    yield "GRANT INSERT, UPDATE ON mappings TO jingwei_loader"
    yield "GRANT SELECT, DELETE ON partial_uploads TO jingwei_loader"
    # Whoever made a layer is known to the trail.
    seen = ", ".join(c.name for c in LAYERS.c if c.name != "account")
    for role in (*EVERYBODY.split(", "), "jingwei_direct", "jingwei_loader"):
        yield f"REVOKE ALL ON layers, layer_features FROM {role}"
    yield f"GRANT SELECT ({seen}) ON layers TO {EVERYBODY}, jingwei_direct"
    yield f"GRANT SELECT ON layer_features TO {EVERYBODY}, jingwei_direct"
    yield "GRANT SELECT, INSERT, UPDATE ON layers TO jingwei_loader"
    yield "GRANT SELECT, INSERT ON layer_features TO jingwei_loader"


def _roles(connection: sa.Connection) -> None:
    # A role that is declared no longer stays for the appointments that name it, and gives nothing.
    connection.exec_driver_sql("UPDATE roles SET may = '{}'")
    connection.execute(
        sa.text(
            "INSERT INTO roles (code, title, \"right\", audience, rank, administrator, may)"
            " SELECT * FROM json_to_recordset(CAST(:roles AS json)) AS r"
            " (code text, title text, \"right\" text, audience integer, rank integer, administrator boolean, may text[])"
            " ON CONFLICT (code) DO UPDATE SET title = excluded.title, \"right\" = excluded.right, audience = excluded.audience,"
            " rank = excluded.rank, administrator = excluded.administrator, may = excluded.may"
        ),
        {"roles": json.dumps([vars(role) for role in ROLES.values()])},
    )


def _sealer_grants() -> Iterator[str]:
    """Ciphers and hashes, wherever they are kept, and what the journal holds of them: nothing else."""
    yield "GRANT USAGE ON SCHEMA jingwei TO jingwei_sealer"
    for place in sealing.places(metadata):
        yield f"REVOKE ALL ON {place.table} FROM jingwei_sealer"
    for place in sealing.places(metadata):
        written = ", ".join(place.columns)
        yield f"GRANT SELECT ({place.key}, {written}), UPDATE ({written}) ON {place.table} TO jingwei_sealer"
    yield "GRANT SELECT (id, noun, feature, patch), UPDATE (patch) ON changes TO jingwei_sealer"


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


def _declared(connection: sa.Connection) -> None:
    """What follows from declarations and is asked for in SQL: what is kept how long, and the steps of requests."""
    for table, rows in (
        (RETENTION_RULES, retention.rules()), (RIGHTS_MOVES, rights_requests.moves()), (INCIDENT_STATES, workflow.states()), (INCIDENT_MOVES, workflow.moves()),
        (INCIDENT_GRADES, workflow.grades()), (grading.ATTENTION_STEPS, grading.steps()), (grading.SITING_RULES, grading.siting()),
    ):
        keys = [c.name for c in table.primary_key]
        staying = sa.tuple_(*(table.c[key] for key in keys)).in_([tuple(row[key] for key in keys) for row in rows])
        connection.execute(sa.delete(table).where(sa.not_(staying)))
        given = insert(table)
        fresh = {c.name: given.excluded[c.name] for c in table.c if c.name not in keys}
        upsert = given.on_conflict_do_update(index_elements=keys, set_=fresh) if fresh else given.on_conflict_do_nothing()
        connection.execute(upsert, rows)
