"""That everything says whose it is: routes by what they depend on, tables by their policies, columns by their grants."""

from collections.abc import Iterator, Mapping

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from geo.catalog import CODE_LISTS, RESOURCES
from geo.resource import Audience, Place, Resource
from tests.access.operations import SAFE, routes

# Routes of the framework's own, which depend on nothing.
UNBOUND = {
    "GET /api": "what the server can be asked, the same for all, made from the code",
    "HEAD /api": "the same",
}
# What changes something and asks for no ability, because everybody has it.
FOR_ANYBODY = {
    "POST /sessions": "whoever signs in is nobody yet",
    "DELETE /sessions/current": "one's own session",
    "POST /reports/{ticket}/moves": "whoever has ticket and code of a report",
    "PUT /me/acting": "one of one's own appointments",
    "POST /sign-in": "the same as a form",
    "POST /sign-out": "one's own session",
    "POST /slip": "whoever has a slip is nobody yet",
    "POST /acting": "one of one's own appointments",
    **dict.fromkeys(
        ("POST /account/code", "POST /account/end", "POST /account/lend", "POST /account/password", "POST /account/second-factor",
         "POST /account/sessions", "POST /account/token-end", "POST /account/tokens"), "one's own account",
    ),
    "POST /reports": "anybody may report",
    "POST /within": "a question in a body, because a shape is longer than an address",
    "POST /report": "the same as a form",
    "POST /open311/v2/requests.{fmt}": "the same for the programs of others",
    "POST /reports/{ticket}/photos": "whoever has ticket and code of a report",
    "POST /report/follow": "whoever has ticket and code of a report",
    "POST /incidents/{id}/receipts": "a receipt of one's own of what is public",
    "POST /report/join": "the same as a form",
    **{
        f"POST /collections/{name}/search": "a question in a body, so that a number is in no address"
        for name, noun in RESOURCES.items() if any(field.secret for field in noun.all_fields)
    },
    "POST /rights-requests": "anybody may ask about their own data",
}
# Who reads the tables: the rights, those of several areas, logins of people's own, and what the server logs in as.
RIGHTS = ("jingwei_public", "jingwei_own", "jingwei_partner", "jingwei_area", "jingwei_leader", "jingwei_organisation")
SEVERAL = ("jingwei_partner_several", "jingwei_area_several", "jingwei_leader_several", "jingwei_organisation_several")
LOGINS = ("jingwei_web", "jingwei_door", "jingwei_trail")
ASKING = (*RIGHTS, *SEVERAL, "jingwei_direct", *LOGINS)
# Tables without policies that everybody may read, and why nothing of anybody's is told by them.
OPEN = {
    "instance": "the name of the server, its prefix and k",
    "area_paths": "which paths were ever given out; where areas are is public",
    "placements": "combinations of area versions, by number; which record has which is in the record",
    "successions": "which area came after which",
    "area_members": "which houses and stairwells make up an area; both are public",
    "layer_versions": "how often a layer was written to",
    "roles": "what roles there are, as declared",
    "retention_rules": "why what is kept and for how long, as declared",
    "code_schemes": "how codes are made",
    "working_days": "which days are worked, as published",
    "working_hours": "which hours",
    "working_spans": "what follows from both",
    "stage_limits": "how long a stage may take, as a town publishes it",
    "matter_limits": "how long a matter may take, as a town publishes it",
    "alarm_steps": "when offices are reminded",
    "duty_waits": "how long an office has to hear of something urgent",
    **dict.fromkeys(CODE_LISTS, "titles of codes, as in data/codes"),
}
COMMANDS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def test_every_route_says_as_whom_its_caller_is_bound(application: FastAPI) -> None:
    found = {route.name: route.policies for route in routes(application)}
    assert {name for name, policies in found.items() if len(policies) != 1} == set(UNBOUND)


def test_what_changes_something_asks_for_an_ability(application: FastAPI) -> None:
    unsafe = {route.name for route in routes(application) if route.method not in SAFE and not route.abilities}
    assert unsafe == set(FOR_ANYBODY)


TABLES = """
SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced, ARRAY(
    SELECT r.rolname || ' ' || command FROM pg_roles AS r, unnest(CAST(:commands AS text[])) AS command
    WHERE r.rolname = ANY (:roles) AND CASE WHEN command = 'DELETE' THEN has_table_privilege(r.oid, c.oid, command)
        ELSE has_any_column_privilege(r.oid, c.oid, command) END) AS granted, ARRAY(
    SELECT r.rolname || ' ' || command FROM pg_roles AS r, unnest(CAST(:commands AS text[])) AS command
    WHERE r.rolname = ANY (:roles) AND EXISTS (
        SELECT FROM pg_policy AS p, unnest(p.polroles) AS polrole WHERE p.polrelid = c.oid AND p.polpermissive
        AND polrole <> 0 AND pg_has_role(r.oid, polrole, 'USAGE')
        AND p.polcmd IN ('*', CASE command WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a' WHEN 'UPDATE' THEN 'w' ELSE 'd' END::"char"))) AS ruled,
    EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND 0 = ANY (p.polroles)) AS for_public
FROM pg_class AS c WHERE c.relnamespace = 'jingwei'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""


def test_every_table_has_policies_or_no_need_of_them(connection: sa.Connection) -> None:
    tables = connection.execute(sa.text(TABLES), {"roles": list(ASKING), "commands": list(COMMANDS)}).all()
    assert set(RESOURCES) <= {table.name for table in tables}
    wrong = []
    for table in tables:
        if table.for_public:
            wrong.append(f"{table.name} has a policy for whoever comes")
        if table.forced:
            # A grant without a policy is a table that looks empty; a policy without a grant is one that nobody has tried.
            wrong += [f"{table.name}: {who}" for who in set(table.granted) ^ set(table.ruled)]
        elif {who.partition(" ")[2] for who in table.granted} - {"SELECT"} or (table.granted and table.name not in OPEN):
            wrong.append(f"{table.name}: {table.granted} without policies")
    assert wrong == []
    assert set(OPEN) == {table.name for table in tables if table.granted and not table.forced}


def test_no_view_reads_for_others(connection: sa.Connection) -> None:
    ours = "SELECT count(*) FROM pg_class WHERE relnamespace = 'jingwei'::regnamespace AND relkind IN ('v', 'm', 'f', 'p')"
    assert connection.scalar(sa.text(ours)) == 0


def test_no_function_is_for_whoever_comes(connection: sa.Connection) -> None:
    ours = """
        SELECT p.oid::regprocedure::text, EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0)
        FROM pg_proc AS p WHERE p.pronamespace = 'jingwei'::regnamespace"""
    assert [name for name, public in connection.execute(sa.text(ours)) if public] == []
    owners = """
        SELECT p.oid::regprocedure::text FROM pg_proc AS p
        WHERE p.pronamespace = 'jingwei'::regnamespace AND p.prosecdef AND p.proowner <> 'jingwei_definer'::regrole"""
    # Dropping and making an index is the right of the table's owner alone; only the loader may call these.
    assert all(name.startswith("index") for name in connection.scalars(sa.text(owners)))


# What a role may do with a column, by a model of its own: the declarations are read, not what is made of them.

SPINE = ("id", "version", "scope", "retired_at")
Privilege = tuple[str, str, str, str]  # role, table, column, command


def readable(resource: Resource, audience: Audience, columns: set[str]) -> set[str]:
    """The columns that an audience may select."""
    if audience >= Audience.WORKER:
        sealed = {f"{f.name}_cipher" for f in resource.all_fields if f.secret}
        return columns - sealed - {f.name for f in resource.all_fields if f.name_of_person and f.clear is None}
    told = {*SPINE, "placement", "label_point", "geom_coarse" if resource.coarse else "geom"}
    for field in resource.all_fields:
        if field.audience <= audience and not field.secret and not (resource.coarse and field.name == "nearest_m"):
            hidden = field.name_of_person and (field.clear is None or audience < field.clear)
            told.add(f"{field.name}_masked" if hidden else field.name)
    return told & columns


def writable(resource: Resource, columns: set[str]) -> set[str]:
    """The columns that may be written by whoever may write: what people fill in, and never whose it is."""
    told = {"id", "source", "extras", "retired_at", "geom"}
    for field in resource.all_fields:
        if field.writable and not field.moved:
            told |= {f"{field.name}_{part}" for part in ("masked", "cipher", "hash")} if field.secret else {field.name}
    return told & columns


def due(table: str, columns: set[str]) -> Iterator[Privilege]:
    """Every privilege on a table that there should be."""
    resource = RESOURCES.get(table)
    if resource is None:
        if table in OPEN or table == "area_shares":
            readers = [role for role in (*RIGHTS, *SEVERAL, "jingwei_direct") if (role, table) != ("jingwei_direct", "code_schemes")]
            yield from ((role, table, column, "SELECT") for role in readers for column in columns)
        if table in ("layers", "layer_features"):
            # Who made a layer is for the trail to tell.
            yield from ((role, table, column, "SELECT") for role in (*RIGHTS, *SEVERAL, "jingwei_direct") for column in columns - {"account"})
        if table == "idempotency":
            writers = [role for role in (*RIGHTS, *SEVERAL) if any(word in role for word in ("area", "leader", "organisation"))]
            yield from ((role, table, column, command) for role in writers for column in columns for command in ("SELECT", "INSERT"))
        return
    for role in (*RIGHTS, *SEVERAL, "jingwei_direct"):
        right = role.removeprefix("jingwei_").removesuffix("_several")
        audience = {"partner": Audience.PARTNER, "area": Audience.WORKER, "leader": Audience.WORKER, "direct": Audience.WORKER}.get(right, Audience.PUBLIC)
        if right == "organisation" and resource.category:
            audience = Audience.WORKER
        if resource.audience > audience or (right == "direct" and resource.element == "人"):
            continue
        read = readable(resource, audience, columns)
        if right == "direct":
            read -= {f"{f.name}_hash" for f in resource.all_fields if f.secret}
        yield from ((role, table, column, "SELECT") for column in read)
        if right == "leader" or right == "direct" or (right == "area" and resource.written_by < Audience.LEADER):
            # What is sealed is sealed by the server: a login of one's own has no key.
            sealed = {f"{f.name}_{part}" for f in resource.all_fields if f.secret for part in ("masked", "cipher", "hash")} if right == "direct" else set()
            yield from ((role, table, column, command) for column in writable(resource, columns) - sealed for command in ("INSERT", "UPDATE"))
        if right == "organisation" and resource.category:
            yield from ((role, table, column, "UPDATE") for column in writable(resource, columns))


HELD = """
SELECT r.rolname, c.relname, a.attname, command
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped,
    pg_roles AS r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS command
WHERE c.relnamespace = 'jingwei'::regnamespace AND c.relkind = 'r' AND r.rolname = ANY (:roles)
  AND has_column_privilege(r.oid, c.oid, a.attnum, command)
"""
COLUMNS = """
SELECT c.relname, array_agg(a.attname::text) FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'jingwei'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped GROUP BY 1
"""


def held(connection: sa.Connection) -> set[Privilege]:
    """Every privilege on a column that there is, those by membership included."""
    return {tuple(row) for row in connection.execute(sa.text(HELD), {"roles": list(ASKING)})}  # type: ignore[misc]


def columns_of(connection: sa.Connection) -> Mapping[str, set[str]]:
    """The columns of every table."""
    return {table: set(columns) for table, columns in connection.execute(sa.text(COLUMNS))}


def test_every_role_may_what_the_declarations_say(connection: sa.Connection) -> None:
    wanted = {privilege for table, columns in columns_of(connection).items() for privilege in due(table, columns)}
    found = held(connection)
    assert sorted(found - wanted) == [], "more than declared"
    assert sorted(wanted - found) == [], "less than declared"


def test_every_grant_too_many_is_noticed(connection: sa.Connection) -> None:
    columns = columns_of(connection)
    wanted = {privilege for table in columns for privilege in due(table, columns[table])}
    for role in ASKING:
        connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, REFERENCES ON ALL TABLES IN SCHEMA jingwei TO {role}")
    every = {
        (role, table, column, command) for role in ASKING for table in columns for column in columns[table]
        for command in ("SELECT", "INSERT", "UPDATE", "REFERENCES")
    }
    assert held(connection) - wanted == every - wanted


def test_nobody_deletes_or_empties(connection: sa.Connection) -> None:
    may = """
        SELECT r.rolname || ' ' || c.relname FROM pg_class AS c, pg_roles AS r
        WHERE c.relnamespace = 'jingwei'::regnamespace AND c.relkind = 'r' AND r.rolname = ANY (:roles)
          AND has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER')"""
    assert list(connection.scalars(sa.text(may), {"roles": list(ASKING)})) == []


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_is_nothing_until_it_says_as_what(connection: sa.Connection, login: str) -> None:
    assert {privilege for privilege in held(connection) if privilege[0] == login} == set()
    becomes = "SELECT r.rolname FROM pg_roles AS r WHERE r.rolname LIKE 'jingwei\\_%' AND pg_has_role(:login, r.oid, 'MEMBER') AND r.rolname <> :login"
    found = set(connection.scalars(sa.text(becomes), {"login": login}))
    assert found == ({*RIGHTS, *SEVERAL} if login == "jingwei_web" else set())


def test_a_row_says_whose_it_is_and_nobody_else_can(connection: sa.Connection) -> None:
    # Who owns a row, where it counts and what it was found near is never in what a caller may write.
    for name, columns in columns_of(connection).items():
        resource = RESOURCES.get(name)
        if resource is not None:
            ours = {"scope", "version", "placement", "placing_reason", "nearest_area", "nearest_m", "geom_coarse", "batch", "label_point", "path"}
            ours |= {"owner"} if resource.owned else set()
            ours -= {field.name for field in resource.writable}
            assert not writable(resource, columns) & ours
            assert "scope" in columns and (resource.place is not Place.POINT or "placement" in columns)
