"""What a linter and a prover of others say of our policies, and what of that is accepted, for which reason."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo.cluster import Address
from tests.access.test_policies import OPEN

SNAPSHOT = Path(__file__).with_name("matrix.txt")
ASKING = ("public", "own", "partner", "area", "leader", "organisation", "direct", "door", "trail", "web")

# rule → the places where it is accepted (a pattern), and why
ACCEPTED: Mapping[str, tuple[str, str]] = {
    "SEC001": (rf"jingwei\.({'|'.join(OPEN)}|UNREACHED)|public\.spatial_ref_sys", "public to all by decision, or without a grant (test_policies)"),
    "SEC007": (r"jingwei\.\w+", "no two permissive policies of a command apply to one role: there is nothing to be narrowed (0033)"),
    "SEC013": (r"jingwei\.\w+\.[a-zA]_\w+", "placing and journal see all areas by decision (0008), and answer nothing to who writes"),
    "SEC014": (r"jingwei\.\w+|public\.st_estimatedextent", "each asks who calls (probes, mutants); the extent is revoked from PUBLIC"),
    "SEC015": (r"public\.st_estimatedextent", "PostGIS's own, revoked from PUBLIC"),
    "SEC016": (r"jingwei_(definer|sealer|loader)", "the owner of our functions and the one who changes keys, neither of whom logs in, and the one who loads files (0008, 0022)"),
    "SEC017": (r"public\.geometry_overlaps", "compares the floats of two boxes, cannot raise; measured (0009)"),
    "SEC022": (r"jingwei\.(area_shares|layers|layer_features)", "written by triggers, the loader or a function alone"),
    "SEC027": (r"jingwei\.(land_parcels|parts)", "`owner` there is the body that owns the ground, no account"),
    "SEC030": (r"jingwei\.incidents", "most incidents are nobody's; `=` and never IS NOT DISTINCT FROM"),
    "SEC035": (r"jingwei\.incidents \(incidents_number_key\)", "a number that is taken is taken everywhere (0027)"),
    "SEC049": (r"public\.spatial_ref_sys", "the coordinate systems of PostGIS; no PostgREST here"),
    "PERF001": (r"jingwei\.\w+\.\w+", "current_setting is stable: read once a scan as the bound of the index (measured: 1.0–1.3 times)"),
    "PERF003": (r"jingwei\.\w+\.\w+", "the index begins with the column that the bound is on: scope, or noun and feature"),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(address: Address, migrated: str) -> str:
    """The address of a migrated database, as libpq has it."""
    return address.url(database=migrated).set(drivername="postgresql").render_as_string(hide_password=False)


def told(database: str, *arguments: str) -> Any:
    """What the tool says, as JSON. It leaves with an error where it has found something."""
    command = [str(Path(sys.executable).with_name("pgrls")), *arguments, "--format", "json"]
    # By environment: an address on the command line is everybody's to read.
    done = subprocess.run(command, env=os.environ | {"DATABASE_URL": database}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_linter_finds_what_is_accepted(database: str, engine: sa.Engine) -> None:
    granted = """
        SELECT relname FROM pg_class AS c WHERE relnamespace = 'jingwei'::regnamespace AND relkind = 'r' AND NOT EXISTS (
            SELECT FROM pg_roles AS r WHERE r.rolname = ANY (:roles) AND has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))"""
    with engine.begin() as connection:
        unreached = list(connection.scalars(sa.text(granted), {"roles": [f"jingwei_{name}" for name in ASKING]}))
    found = told(database, "lint", "--schemas", "jingwei,public")["violations"]
    wrong = []
    for violation in found:
        places, _ = ACCEPTED.get(violation["rule_id"], ("(?!)", ""))
        if not re.fullmatch(places.replace("UNREACHED", "|".join(unreached)), violation["location"]):
            wrong.append(f"{violation['rule_id']} {violation['location']}: {violation['message']}")
    assert wrong == []
    assert {violation["rule_id"] for violation in found} == set(ACCEPTED), "what is found no longer need not be accepted"


def test_the_prover_finds_no_way_for_nobody_in_particular(database: str) -> None:
    """No leak, and most of it proved. What it leaves open is more than it decides (a function that is asked, a list in a
    setting), and now and then one more policy that its solver had no time for."""
    verdicts = told(database, "verify", "--schemas", "jingwei", "--mode", "anon")
    assert verdicts["summary"]["leak"] == 0, verdicts
    assert verdicts["summary"]["isolated"], verdicts


@pytest.mark.long
@pytest.mark.parametrize("mode", ["cross-tenant", "write", "escalation", "reachability"])
def test_the_prover_finds_no_leak(database: str, mode: str) -> None:
    # Isolation by a range of paths is no equality with one tenant: there is nothing here that it can prove, only refute.
    verdicts = told(database, "verify", "--schemas", "jingwei", "--mode", mode)
    assert verdicts["summary"]["leak"] == 0, verdicts


def test_a_stretch_of_paths_is_an_area_and_what_lies_in_it() -> None:
    """What the prover cannot: `scope >= lo AND scope < lo || '~'`, byte by byte, is `scope` beginning with `lo`. The alphabet
    of paths is 0–9 and A–Z, all of them below `~`; its two ends and a middle stand for it, every path up to four long."""
    paths = ["".join(path) for length in range(5) for path in itertools.product("0Z", repeat=length)]
    paths += ["".join(path) for length in range(4) for path in itertools.product("09AZ", repeat=length)]
    assert all((lo <= path < lo + "~") == path.startswith(lo) for lo in paths for path in paths)
    # A connection that has been told of nobody: both ends are empty, and nothing lies between.
    assert not any("" <= path < "" for path in paths)


def test_who_can_reach_what_is_as_it_was(database: str) -> None:
    """The access matrix of the tool, in brief: what each right can do with each table by itself or through a function of ours.

    After a change that is meant, `JINGWEI_ACCEPT=1` writes it anew."""
    roles = [f"jingwei_{name}" for name in ASKING]
    matrix = told(database, "matrix", "--schemas", "jingwei", "--roles", ",".join(roles))
    cells: dict[str, dict[str, str]] = {}
    for row in matrix["rows"]:
        for role in roles:
            found = row["access"][role]
            by = "" if found["verdict"] == "denied" else "+" if "through" in (found["note"] or "") else "*" if found["verdict"] == "open" else "="
            letter = row["command"][0] if row["command"] != "TRUNCATE" else "!"
            cells.setdefault(row["table"].removeprefix("jingwei."), {}).setdefault(role, "")
            cells[row["table"].removeprefix("jingwei.")][role] += f"{letter}{by} " if by else ""
    head = "S select, I insert, U update, D delete, ! truncate; = some rows, * every row, + every row that a function of ours tells of\n\n"
    lines = [f"{'':20}" + "".join(f"{name:14}" for name in ASKING)]
    lines += [f"{table:20}" + "".join(f"{cells[table][role].strip():14}" for role in roles) for table in sorted(cells)]
    text = head + "\n".join(line.rstrip() for line in lines) + "\n"
    if os.environ.get("JINGWEI_ACCEPT"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()
