"""The house keeps its shape: imports point one way, statements are found and called, functions are held by nobody."""

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa
from importlinter.cli import lint_imports

from geo.schema import CALLED
from geo.statements import statements

ROOT = Path(__file__).parents[1]
SOURCES = {path: path.read_text(encoding="utf-8") for package in ("geo", "api", "maps") for path in (ROOT / package).rglob("*.py")}


def test_imports_point_one_way(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own logging set-up would silence every logger there is, for all tests that follow.
    monkeypatch.setattr("importlinter.cli.logging_config.dictConfig", lambda _: None)
    assert lint_imports(no_cache=True) == 0, capsys.readouterr().out


def test_a_web_process_imports_no_data_frames() -> None:
    # 188 MB and 5.3 s for everything; mapclassify alone 158 MB, pyogrio 2.5 s.
    probe = "import api.app, api.serving, sys, json; print(json.dumps([m for m in ('geopandas', 'pyogrio', 'mapclassify') if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_statements_are_called_and_calls_name_statements() -> None:
    called = set()
    for path, source in SOURCES.items():
        if path.is_relative_to(ROOT / "geo"):
            # The name is the first string after the connection, in a call of `run`, or of a function that passes it on.
            called |= set(re.findall(r'\b(?:run|_rows)\(\s*[\w.]+,\s*"(\w+)"', source))
    assert called == set(statements())


def test_a_rules_file_is_no_statement_file() -> None:
    # The rules loader executes what it finds: a statement with a parameter there would stop every migration.
    heads = [script.name for script in (files("geo.sql") / "rules").iterdir() if "\n-- " in script.read_text() and re.search(r"^-- \w+ --$", script.read_text(), re.M)]
    assert heads == []


OURS = """
SELECT p.oid::regprocedure::text AS signature, p.proname AS name, p.prosecdef AS definer, o.rolname AS owner,
       coalesce(p.proconfig, '{}') AS config, p.prorettype = 'trigger'::regtype AS trigger,
       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0) AS public
FROM pg_proc AS p JOIN pg_roles AS o ON o.oid = p.proowner
WHERE p.pronamespace = 'jingwei'::regnamespace
"""


def test_functions_belong_to_roles_nobody_can_be(connection: sa.Connection) -> None:
    functions = connection.execute(sa.text(OURS)).all()
    assert functions
    assert [f.signature for f in functions if f.public] == []
    definers = [f for f in functions if f.definer]
    # Dropping and making an index is the right of the table's owner alone.
    assert [f.signature for f in definers if f.owner != ("jingwei_owner" if f.name.startswith("index") else "jingwei_definer")] == []
    # Procrastinate's functions name its own tables without their schema.
    pinned = {"job_deferred": "search_path=jobs, pg_temp"}
    assert [f.signature for f in definers if pinned.get(f.name, "search_path=jingwei, public, pg_temp") not in f.config] == []
    assert [f.signature for f in functions if not f.definer and f.owner != "jingwei_owner"] == []


def test_every_function_is_granted_called_or_a_triggers(connection: sa.Connection) -> None:
    functions = connection.execute(sa.text(OURS)).all()
    bodies = "\n".join(script.read_text() for script in (files("geo.sql") / "rules").iterdir())
    code = bodies + "\n".join(SOURCES.values())
    granted = {name for names in CALLED.values() for name in names}
    assert granted <= {f.name for f in functions}
    idle = {f.name for f in functions if not f.trigger and len(re.findall(rf"\b{f.name}\b", code)) < 2}
    # What an auditor asks psql for.
    assert idle <= {"trail_broken"}


def test_roles_that_log_in_own_nothing(connection: sa.Connection) -> None:
    rights = "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolinherit FROM pg_roles WHERE rolname LIKE 'jingwei\\_%'"
    roles = {r.rolname: r for r in connection.execute(sa.text(rights))}
    assert {name for name, r in roles.items() if r.rolcanlogin} == {"jingwei_admin", "jingwei_web", "jingwei_door", "jingwei_loader", "jingwei_trail"}
    assert {name for name, r in roles.items() if r.rolbypassrls and not r.rolsuper} == {"jingwei_definer", "jingwei_loader", "jingwei_sealer"}
    assert {name for name, r in roles.items() if r.rolsuper} == {"jingwei_admin"}
    assert not roles["jingwei_web"].rolinherit
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'jingwei'::regnamespace"
    assert set(connection.execute(sa.text(owners)).scalars()) == {"jingwei_owner"}
    # Nobody may become the one whose functions see everything.
    held = "SELECT count(*) FROM pg_auth_members WHERE roleid IN ('jingwei_definer'::regrole, 'jingwei_owner'::regrole)"
    assert connection.scalar(sa.text(held)) == 0


def test_the_bounding_box_test_may_run_before_a_policy(connection: sa.Connection) -> None:
    # Without it row-level security turns the spatial index off: 0.4 → 440 ms at a million rows.
    leakproof = "SELECT proleakproof FROM pg_proc WHERE oid = 'geometry_overlaps(geometry,geometry)'::regprocedure"
    assert connection.scalar(sa.text(leakproof))
    extent = "SELECT has_function_privilege('jingwei_public', 'st_estimatedextent(text,text,text)', 'EXECUTE')"
    assert connection.scalar(sa.text(extent)) is False
