"""Work that takes longer than a request: kept by procrastinate in a schema of its own, done by one worker process.

A job is deferred by a definer function in the caller's own transaction (`job_deferred`), so it is there if and only if what it is
about is. It names an upload and nothing else: what to do with it is read when its turn comes, and doing it twice does it once.
"""

import importlib.metadata
from importlib.resources import files
from typing import TYPE_CHECKING

import sqlalchemy as sa

from geo import db

if TYPE_CHECKING:
    # At run time it is imported by the worker alone: it costs 0.1 s, which every command would pay.
    import procrastinate

SCHEMA = "jobs"


def founded(connection: sa.Connection) -> None:
    """Procrastinate's tables and functions, as its installed version wants them; the worker may use them, nobody else.

    Its own migrations bring an older one up; which was run last is said in the schema's comment.
    """
    installed = importlib.metadata.version("procrastinate")
    run = connection.exec_driver_sql
    run(f"SET LOCAL ROLE jingwei_owner; SET LOCAL search_path = {SCHEMA}, pg_catalog")
    present = run("SELECT obj_description(%s::regnamespace)", (SCHEMA,)).scalar()
    scripts = files("procrastinate.sql")
    if present is None:
        db.run_script(connection, (scripts / "schema.sql").read_text(encoding="utf-8"))
    elif present != installed:
        for script in sorted((scripts / "migrations").iterdir(), key=lambda s: s.name):
            if script.name.endswith(".sql") and _numbers(script.name[:8]) > _numbers(present):
                db.run_script(connection, script.read_text(encoding="utf-8"))
    db.run_script(connection, f"COMMENT ON SCHEMA {SCHEMA} IS '{installed}'")
    db.run_script(connection, f"GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO jingwei_loader; GRANT ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO jingwei_loader")
    db.run_script(connection, f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO jingwei_loader, jingwei_definer")
    db.run_script(connection, "GRANT SELECT, INSERT ON procrastinate_jobs, procrastinate_events TO jingwei_definer")
    db.run_script(connection, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO jingwei_definer")
    run("RESET ROLE")
    run(f"SET LOCAL search_path = {db.SEARCH_PATH}")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3]]


def app(url: sa.URL) -> "procrastinate.App":
    """Where jobs are taken from, by a login that may (the loader's)."""
    import procrastinate

    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    options = f"-csearch_path={SCHEMA},public"
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo, kwargs={"options": options}, min_size=1, max_size=3))
