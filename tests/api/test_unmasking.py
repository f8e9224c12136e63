"""What is masked is shown to one person for a reason: in the trail before, counted, and reviewed by another."""

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo import db, door, unmasking
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.resource import Audience
from tests import town

NAME, PHONE = "欧阳锋", "138 1234 5678"
ASKED = {"purpose": "visit", "note": "上门看望", "fields": ["name", "phone"]}
MASKING = [r for r in RESOURCES.values() if unmasking.masked(r, Audience.LEADER)]


def resident(client: TestClient, connection: sa.Connection, x: float = 0.5, **given: object) -> str:
    """A resident with a name and a phone, where `x` says. The id."""
    building = town.add(connection, "buildings", town.box(x - 0.1, 0.4, x + 0.1, 0.6))
    body = town.example(RESOURCES["residents"], **({"name": NAME, "phone": PHONE, "building": str(building)} | given))
    made = client.post("/collections/residents/items", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def unmask(client: TestClient, id: object, headers: dict[str, str], noun: str = "residents", **asked: object) -> Any:
    return client.post(f"/collections/{noun}/items/{id}/unmask", json=ASKED | asked, headers=headers)


def told(connection: sa.Connection, since: int = 0) -> list[Any]:
    """The rows of the trail, oldest first."""
    return list(connection.execute(sa.text("SELECT * FROM trail WHERE id > :since ORDER BY id"), {"since": since}))


def last(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.text("SELECT max(id) FROM trail")) or 0)


@pytest.fixture
def worker(connection: sa.Connection) -> dict[str, str]:
    """A grid worker of grid A."""
    return town.come(connection, "worker", "grid_worker", town.A)


def test_a_record_is_unmasked_for_who_has_it(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    id = resident(client, connection)
    seen = client.get(f"/collections/residents/items/{id}", headers=worker | {"Purpose": "visit"}).json()["properties"]
    assert (seen["name"], seen["phone"]) == ("欧*", "138****5678")
    since = last(connection)
    answer = unmask(client, id, worker)
    assert (answer.status_code, answer.json()["fields"]) == (200, {"name": NAME, "phone": PHONE})
    assert answer.headers["cache-control"] == "no-store"
    [row] = told(connection, since)
    assert (row.actor, row.acting_as, row.action, row.noun, row.feature, row.purpose, row.scope) == (
        "worker", f"grid_worker@{town.A}", "unmask", "residents", id, "visit", town.A
    )
    kept = connection.execute(sa.text("SELECT * FROM unmaskings")).one()
    assert (str(kept.id), kept.entry, kept.fields, kept.note, kept.scope) == (answer.json()["unmasking"], row.id, ["name", "phone"], "上门看望", town.A)
    # Only what was asked for.
    assert unmask(client, id, worker, fields=["phone"]).json()["fields"] == {"phone": PHONE}


@pytest.mark.parametrize("resource", MASKING, ids=lambda r: r.name)
def test_every_masked_field_of_every_noun(client: TestClient, connection: sa.Connection, resource: Any) -> None:
    fields = [field.name for field in unmasking.masked(resource, Audience.LEADER)]
    values = {field.name: PHONE if field.secret else NAME for field in unmasking.masked(resource, Audience.LEADER)}
    made = client.post(f"/collections/{resource.name}/items", json=town.full(resource, **town.needs(connection, resource), **values))
    assert made.status_code == 201, made.text
    assert PHONE not in made.text and NAME not in made.text
    headers = town.come(connection, "head", "street", town.PREFIX)
    answer = unmask(client, made.json()["id"], headers, resource.name, fields=fields)
    assert answer.status_code == 200, answer.text
    assert answer.json()["fields"] == values
    # What there is not is nothing, and not an error.
    empty = client.post(f"/collections/{resource.name}/items", json=town.example(resource, **town.needs(connection, resource))).json()["id"]
    found = unmask(client, empty, headers, resource.name, fields=fields).json()["fields"]
    assert {name for name, value in found.items() if value is None} == {name for name in fields if not resource[name].required}


def test_who_may_not(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    id, beyond = resident(client, connection), resident(client, connection, 1.5, code="r2")
    incident = str(town.add(connection, "incidents"))
    assert unmask(client, id, town.NOBODY).status_code == 404
    assert unmask(client, incident, town.NOBODY, "incidents", fields=["reporter_phone"]).status_code == 401
    for role, *areas in (("steward", town.A), ("expert", town.A), ("resident",), ("audit_admin",), ("system_admin",), ("security_admin",)):
        headers = town.come(connection, role, role, *areas)
        assert unmask(client, id, headers).status_code == 404, role
        assert unmask(client, incident, headers, "incidents", fields=["reporter_phone"]).status_code == 403, role
    # A worker of another grid does not learn that there is such a person; nor does one whose appointment has ended.
    assert unmask(client, beyond, worker).status_code == 404
    gone = town.come(connection, "gone", "grid_worker", town.A)
    connection.execute(sa.text("UPDATE appointments SET valid_to = now() WHERE account = (SELECT id FROM accounts WHERE login = 'gone')"))
    assert unmask(client, id, gone).status_code == 401
    client.delete(f"/collections/residents/items/{id}")
    assert unmask(client, id, worker).status_code == 410
    assert connection.scalar(sa.text("SELECT count(*) FROM unmaskings")) == 0


def test_a_department_unmasks_its_own_matters_only(client: TestClient, connection: sa.Connection) -> None:
    connection.execute(sa.text("INSERT INTO matters (code, title, title_en) VALUES ('other', 'x', 'x')"))
    headers = town.come(connection, "dept", "department", town.PREFIX, categories=["sample"])
    for matter, status in (("sample", 200), ("other", 404)):
        body = town.example(RESOURCES["incidents"], reporter_phone=PHONE, matter=matter)
        made = client.post("/collections/incidents/items", json=body).json()["id"]
        assert unmask(client, made, headers, "incidents", fields=["reporter_phone"]).status_code == status, matter
    assert unmask(client, resident(client, connection), headers).status_code == 404


def test_what_is_no_question(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    id = resident(client, connection)
    since = last(connection)
    for wrong, field in (
        ({"purpose": "curiosity"}, "purpose"), ({"purpose": None}, "purpose"), ({"note": ""}, "note"), ({"note": "x"}, "note"), ({"note": "a\0b"}, "note"),
        ({"fields": []}, "fields"), ({"fields": ["age_band"]}, "fields"), ({"fields": ["phone_cipher"]}, "fields"), ({"fields": ["zzz"]}, "fields"),
        ({"zzz": 1}, "zzz"),
    ):
        refused = unmask(client, id, worker, **wrong)
        assert (refused.status_code, refused.json()["field"].split(".")[0]) == (422, field), wrong
    assert told(connection, since) == []
    # A reason is read by others than those who saw the record.
    repeating = unmask(client, id, worker, note="打13812345678")
    assert (repeating.status_code, repeating.json()["rule"]) == (422, "unmaskings_note_check")
    assert "13812345678" not in repeating.text
    assert unmask(client, uuid4(), worker).status_code == 404
    assert client.post(f"/collections/parts/items/{id}/unmask", json=ASKED, headers=worker).status_code == 404


def test_thirty_an_hour(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    id = resident(client, connection)
    connection.execute(sa.text("""
        INSERT INTO unmaskings (at, account, persons, actor, acting_as, noun, feature, fields, purpose, note, scope, entry)
        SELECT now() - interval '20 minutes', a.id, ARRAY[a.id], 'worker', '', 'residents', :id, '{phone}', 'visit', '再看', :scope, -n
        FROM accounts AS a, generate_series(1, 29) AS n WHERE a.login = 'worker'"""), {"id": id, "scope": town.A})
    assert unmask(client, id, worker).status_code == 200
    refused = unmask(client, id, worker)
    assert (refused.status_code, refused.json()["rule"]) == (429, "unmaskings_hour_check")
    # Again when the first of them is an hour old.
    assert 2300 <= int(refused.headers["retry-after"]) <= 2400
    # By account, whatever it acts as; another has thirty of its own.
    again = connection.execute(sa.text("SELECT id FROM accounts WHERE login = 'worker'")).scalar_one()
    other = town.accounts.appoint(connection, again, "grid_leader", [town.A])
    town.token(connection, other, "jw_test_same")
    assert unmask(client, id, {"Authorization": "Bearer jw_test_same"}).status_code == 429
    assert unmask(client, id, town.come(connection, "colleague", "grid_worker", town.A)).status_code == 200
    connection.execute(sa.text("UPDATE unmaskings SET at = at - interval '1 hour'"))
    assert unmask(client, id, worker).status_code == 200


def test_without_a_trail_there_is_no_answer(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    id = resident(client, connection)
    broken(connection)
    refused = unmask(client, id, worker)
    assert refused.status_code == 503
    assert NAME not in refused.text and "5678" not in refused.text
    assert connection.scalar(sa.text("SELECT count(*) FROM unmaskings")) == 0


def broken(connection: sa.Connection) -> None:
    """From now on nothing can be written into the trail."""
    connection.exec_driver_sql(
        "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege; END $$;"
        "CREATE TRIGGER refused BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION refused();"
    )


def test_the_function_itself_asks_for_the_row_of_the_trail(
    client: TestClient, connection: sa.Connection, worker: dict[str, str], web: Any
) -> None:
    id, other = resident(client, connection), resident(client, connection, 0.6, code="r2")
    who = door.by_token(client.app.state.engines.door, "jw_test_worker").caller  # type: ignore[attr-defined]
    append = sa.text("SELECT trail_appended(:actor, '', :action, 'residents', :feature, '', 'visit', 'asked', '')")
    asked = sa.text("SELECT clear FROM unmasked(:entry, 'residents', :id, '{name}', 'visit', '上门')")

    def entry(actor: str = "worker", action: str = "unmask", feature: str = id) -> int:
        return int(connection.scalar(append, {"actor": actor, "action": action, "feature": feature}) or 0)

    def clear(number: int, caller: Caller = who) -> Any:
        with db.transaction(web, caller) as opened:
            return opened.scalar(asked, {"entry": number, "id": id})

    for number in (0, -1, entry(actor="somebody"), entry(action="read"), entry(feature=other)):
        with pytest.raises(db.Forbidden):
            clear(number)
    good = entry()
    assert clear(good) == NAME
    with pytest.raises(db.Conflict):  # one answer a row
        clear(good)
    stale = entry()
    connection.exec_driver_sql("ALTER TABLE trail DISABLE TRIGGER USER")
    connection.execute(sa.text("UPDATE trail SET at = at - interval '61 seconds' WHERE id = :id"), {"id": stale})
    with pytest.raises(db.Forbidden):
        clear(stale)
    # Nor does it help to be bound as somebody who has no such appointment.
    forged = Caller("worker", "jingwei_area", (town.PREFIX,), Audience.WORKER, account=who.account, appointment=uuid4())
    with pytest.raises(db.Forbidden):
        clear(entry(), forged)


def test_roles_of_the_web_cannot_read_ciphers_or_names_of_residents(connection: sa.Connection) -> None:
    """By pg_catalog: every role but the definer's and those of the owner's own tools."""
    roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'jingwei\\_%' AND rolname NOT IN ('jingwei_owner', 'jingwei_definer', 'jingwei_sealer', 'jingwei_loader', 'jingwei_admin')"
    names = list(connection.scalars(sa.text(roles)))
    assert {"jingwei_web", "jingwei_leader_several", "jingwei_direct", "jingwei_door", "jingwei_trail"} <= set(names)
    beyond = (
        "SELECT bool_or(pg_has_role(role, other, 'MEMBER')) FROM unnest('{jingwei_web,jingwei_direct,jingwei_door,jingwei_trail}'::name[]) AS role,"
        " unnest('{jingwei_definer,jingwei_sealer,jingwei_loader,jingwei_owner}'::name[]) AS other"
    )
    assert connection.scalar(sa.text(beyond)) is False
    asked = sa.text("SELECT has_column_privilege(:role, :table, :column, :right)")
    for resource in MASKING:
        for field in unmasking.masked(resource, Audience.LEADER):
            column = f"{field.name}_cipher" if field.secret else field.name
            for role in names:
                found = connection.scalar(asked, {"role": role, "table": resource.name, "column": column, "right": "SELECT"})
                assert found is False, (role, resource.name, column)
    for table in ("unmaskings", "exports", "export_log", "export_moves", "trail"):
        for role in names:
            readable = sa.text("SELECT has_table_privilege(:role, :table, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')")
            assert connection.scalar(readable, {"role": role, "table": table}) is False, (role, table)


def test_unmaskings_are_committed_after_their_row_of_the_trail(live_client: TestClient, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        worker = town.come(connection, "worker", "grid_worker", town.A)
        building = town.add(connection, "buildings")
        beyond = town.add(connection, "residents", building=town.add(connection, "buildings", town.box(1.4, 0.4, 1.6, 0.6)))
    # What was asked for and not given is told too.
    assert unmask(live_client, beyond, worker).status_code == 404
    body = town.example(RESOURCES["residents"], name=NAME, phone=PHONE, building=str(building))
    id = live_client.post("/collections/residents/items", json=body).json()["id"]
    assert unmask(live_client, id, worker).json()["fields"]["phone"] == PHONE
    with live_engine.begin() as connection:
        assert [(row.action, row.feature, row.result) for row in told(connection) if row.action == "unmask"] == [("unmask", str(beyond), "asked"), ("unmask", id, "asked")]
        assert connection.scalar(sa.text("SELECT u.feature FROM unmaskings AS u JOIN trail AS t ON t.id = u.entry AND t.xmin::text <> u.xmin::text")) is not None
        # A phone that was shown is nowhere but under its seal.
        for table in ("trail", "unmaskings", "changes", "idempotency"):
            # In full: four digits stand in a hash of theirs now and then.
            kept = connection.scalar(sa.text(f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%' || :phone || '%'"), {"phone": PHONE})
            assert kept == 0, table
        assert connection.scalar(sa.text("SELECT count(*) FROM residents AS r WHERE r::text LIKE '%5678%' AND r::text LIKE '%138****5678%'")) == 1


# Reviews


def reviewed(client: TestClient, id: str, headers: dict[str, str], **said: object) -> Any:
    return client.post(f"/unmaskings/{id}/review", json={"verdict": "proper", "opinion": "属实"} | said, headers=headers)


@pytest.fixture
def seen(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> str:
    """An unmasking by the worker."""
    return str(unmask(client, resident(client, connection), worker).json()["unmasking"])


def test_another_person_reviews(client: TestClient, connection: sa.Connection, worker: dict[str, str], seen: str) -> None:
    street = town.come(connection, "chief", "street", town.PREFIX)
    waiting = client.get("/unmaskings", headers=street, params={"state": "waiting"}).json()
    assert (waiting["numberWaiting"], waiting["numberOverdue"]) == (1, 0)
    [row] = waiting["unmaskings"]
    assert (row["id"], row["actor"], row["fields"], row["purpose"], row["note"], row["reviewable"]) == (
        seen, "worker", ["name", "phone"], "visit", "上门看望", True
    )
    assert NAME not in str(waiting) and "5678" not in str(waiting)
    since = last(connection)
    assert reviewed(client, seen, street).status_code == 204
    assert [(r.action, r.feature, r.result) for r in told(connection, since)] == [("approve", seen, "proper")]
    assert client.get("/unmaskings", headers=street, params={"state": "waiting"}).json()["unmaskings"] == []
    [row] = client.get("/unmaskings", headers=worker).json()["unmaskings"]
    assert (row["verdict"], row["opinion"], row["reviewed_by"]) == ("proper", "属实", "chief")
    again = reviewed(client, seen, street, verdict="improper")
    assert (again.status_code, again.json()["rule"]) == (409, "unmaskings_review_check")


def test_who_reviews_and_who_sees(client: TestClient, connection: sa.Connection, seen: str) -> None:
    auditor = town.come(connection, "auditor", "audit_admin")
    connection.execute(sa.text("UPDATE accounts SET totp_at = now()"))
    elsewhere = town.come(connection, "elsewhere", "community_leader", "990101001002")
    colleague = town.come(connection, "colleague", "grid_worker", town.A)
    for headers in (elsewhere, colleague):
        assert client.get("/unmaskings", headers=headers).json()["unmaskings"] == []
        assert reviewed(client, seen, headers).status_code == 403
    assert client.get("/unmaskings", headers=town.NOBODY).status_code == 401
    assert reviewed(client, str(uuid4()), auditor).status_code == 404
    for wrong in ({"verdict": "maybe"}, {"opinion": "x"}, {"opinion": ""}):
        assert reviewed(client, seen, auditor, **wrong).status_code == 422
    assert [row["id"] for row in client.get("/unmaskings", headers=auditor).json()["unmaskings"]] == [seen]
    assert reviewed(client, seen, auditor).status_code == 204


def test_nobody_reviews_themselves(client: TestClient, connection: sa.Connection) -> None:
    mine = town.post(connection, "chief", "street", town.PREFIX)
    chief = town.holding(connection, mine, "chief")
    id = unmask(client, resident(client, connection), chief).json()["unmasking"]
    deputy = town.accounts.make(connection, "deputy", "Deputy")
    lent = town.accounts.appoint(connection, deputy, "street", [town.PREFIX], until=connection.scalar(sa.text("SELECT now() + interval '1 day'")), stands_in_for=mine)
    for headers in (chief, town.holding(connection, lent, "deputy")):
        refused = reviewed(client, id, headers)
        assert (refused.status_code, refused.json()["rule"]) == (403, "unmaskings_second_person_check")
        assert client.get("/unmaskings", headers=headers).json()["unmaskings"][0]["reviewable"] is False
    assert reviewed(client, id, town.come(connection, "other", "district", town.PREFIX)).status_code == 204


def test_what_waits_too_long_is_told(client: TestClient, connection: sa.Connection, seen: str) -> None:
    connection.execute(sa.text("UPDATE unmaskings SET at = now() - interval '8 days'"))
    told_ = client.get("/unmaskings", headers=town.come(connection, "chief", "street", town.PREFIX)).json()
    assert (told_["numberWaiting"], told_["numberOverdue"], told_["days"]) == (1, 1, 7)


def test_the_page_reviews_without_scripts(client: TestClient, connection: sa.Connection, seen: str) -> None:
    chief = town.come(connection, "chief", "street", town.PREFIX) | {"Accept": "text/html"}
    page = client.get("/unmaskings", headers=chief)
    assert page.headers["cache-control"] == "no-store"
    assert f'action="/unmaskings/{seen}/form"' in page.text and "上门看望" in page.text
    short = client.post(f"/unmaskings/{seen}/form", data={"verdict": "proper", "opinion": "x"}, headers=chief)
    assert (short.status_code, 'role="alert"' in short.text) == (422, True)
    done = client.post(f"/unmaskings/{seen}/form", data={"verdict": "improper", "opinion": "<b>没有理由</b>"}, headers=chief)
    assert [answer.status_code for answer in done.history] == [303]
    assert "&lt;b&gt;没有理由&lt;/b&gt;" in done.text and "不当" in done.text
    twice = client.post(f"/unmaskings/{seen}/form", data={"verdict": "proper", "opinion": "属实"}, headers=chief)
    assert (twice.status_code, "已经有人复核" in twice.text) == (409, True)


