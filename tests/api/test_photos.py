"""Photos of cases over HTTP: who sends one, who sees it, who releases it; what is no photo is refused and leaves nothing."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from geo import photos, pictures
from tests import town
from tests.geo.test_photos import ATTACKS, picture

LON, LAT = town.at(0.5, 0.5)
Reported = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def nearby(monkeypatch: pytest.MonkeyPatch) -> None:
    """Developed in this process, but for the one test that is about the other: a start takes a quarter of a second."""
    def developed(sent: bytes) -> photos.Photo:
        try:
            return photos.Photo(*pictures.developed(sent))
        except pictures.Refused as refusal:
            raise photos.Invalid(str(refusal), field="photo") from refusal
    monkeypatch.setattr(photos, "developed", developed)


def report(client: TestClient, **told: object) -> Any:
    body = {"title": "井盖破损", "matter": "28001", "lon": LON, "lat": LAT} | told
    made = client.post("/reports", json=body, headers=town.NOBODY).json()
    return made | {"path": f"/reports/{made['ticket']}/photos", "code_header": town.NOBODY | {"Report-Code": made["code"]}}


def send(client: TestClient, path: str, headers: dict[str, str], content: bytes | None = None, **fields: str) -> Any:
    return client.post(path, files={"photo": ("../../etc/x.jpg", content or picture(), "text/html")}, data=fields, headers=headers)


def case_of(connection: sa.Connection, made: dict[str, Any]) -> str:
    return str(connection.scalar(sa.text("SELECT incident FROM receipts WHERE ticket = :t"), {"t": made["ticket"]}))


def test_whoever_reported_adds_a_photo_and_only_workers_see_it(client: TestClient, connection: sa.Connection) -> None:
    made = report(client)
    sent = send(client, made["path"], made["code_header"], kind="far")
    assert sent.status_code == 201, sent.text
    assert (sent.json()["width"], sent.json()["height"]) == (64, 48) and sent.headers["cache-control"] == "private, no-store"
    path, case = f"/photos/{sent.json()['id']}", case_of(connection, made)
    inside, outside = town.come(connection, "inside", "grid_worker", town.A), town.come(connection, "outside", "grid_worker", town.B)
    looked = client.get(path, headers=inside)
    assert looked.status_code == 200 and looked.headers["content-type"] == "image/jpeg" and looked.headers["cache-control"] == "private, no-store"
    assert "sandbox" in looked.headers["content-security-policy"] and looked.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(looked.content)).size == (64, 48)
    assert connection.scalar(sa.text("SELECT actor FROM trail WHERE action = 'read' AND noun = 'incident_photos' ORDER BY id DESC LIMIT 1")) == "inside"
    resident = town.come(connection, "resident", "resident")
    for headers in (town.NOBODY, outside, resident, made["code_header"]):
        assert client.get(path, headers=headers).status_code == 404
        assert client.get(f"/incidents/{case}/photos", headers=headers).json().get("photos", []) == []
    (told,) = client.get(f"/incidents/{case}/photos", headers=inside).json()["photos"]
    assert (told["kind"], told["title"], told["by_reporter"], told["href"], told["released_at"]) == ("far", "远景", True, path, None)


def test_a_person_releases_each_and_takes_it_back(client: TestClient, connection: sa.Connection) -> None:
    made = report(client)
    one, other = (send(client, made["path"], made["code_header"], picture(colour=(n, n, n))).json()["id"] for n in (10, 200))
    worker, desk = town.come(connection, "worker", "grid_worker", town.A), town.come(connection, "desk", "acceptor", town.PREFIX)
    away = town.come(connection, "away", "acceptor", town.D)
    assert client.post(f"/photos/{one}/release", headers=worker).status_code == 403
    assert client.post(f"/photos/{one}/release", headers=away).status_code == 404
    assert client.post(f"/photos/{one}/release", headers=town.NOBODY).status_code == 401
    assert client.post(f"/photos/{one}/release", headers=desk).json()["released"] is True
    seen = client.get(f"/photos/{one}")
    assert seen.status_code == 200 and seen.headers["cache-control"] == "public, no-cache"
    assert client.get(f"/photos/{one}", headers={"If-None-Match": seen.headers["etag"]}).status_code == 304
    assert client.get(f"/photos/{other}").status_code == 404
    assert [p["id"] for p in client.get(f"/incidents/{case_of(connection, made)}/photos").json()["photos"]] == [one]
    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    assert connection.scalars(sa.text("SELECT feature FROM trail WHERE action = 'approve' AND noun = 'incident_photos'")).all() == [one]
    assert connection.scalars(sa.text("SELECT released_by FROM incident_photos WHERE released_at IS NOT NULL")).all() == ["desk"]
    assert client.delete(f"/photos/{one}/release", headers=desk).json()["released"] is False
    assert client.get(f"/photos/{one}", headers={"If-None-Match": seen.headers["etag"]}).status_code == 404
    assert client.delete(f"/photos/{other}", headers=worker).status_code == 403
    assert client.delete(f"/photos/{other}", headers=desk).status_code == 204
    assert client.get(f"/photos/{other}", headers=worker).status_code == 404
    row = connection.execute(sa.text("SELECT file, file_key_cipher, digest FROM incident_photos WHERE id = :id"), {"id": other}).one()
    assert (row.file, row.file_key_cipher, row.digest) == (None, None, None)


def test_who_works_with_it_adds_one_to_a_step(client: TestClient, connection: sa.Connection) -> None:
    case = case_of(connection, report(client))
    worker, outside = town.come(connection, "worker", "grid_worker", town.A), town.come(connection, "outside", "grid_worker", town.B)
    sent = send(client, f"/incidents/{case}/photos?number=1", worker, kind="after")
    assert sent.status_code == 201 and sent.headers["location"] == f"/photos/{sent.json()['id']}"
    (told,) = client.get(f"/incidents/{case}/photos", headers=worker).json()["photos"]
    assert (told["number"], told["kind"], told["by_reporter"]) == (1, "after", False)
    none = send(client, f"/incidents/{case}/photos?number=7", worker, picture(colour=(9, 9, 9)))
    assert (none.status_code, none.json()["detail"]) == (422, "没有这一步。")
    assert send(client, f"/incidents/{case}/photos", outside).status_code == 404
    assert send(client, f"/incidents/{case}/photos", town.NOBODY).status_code == 401


def test_only_with_ticket_and_code_and_only_four(client: TestClient, connection: sa.Connection) -> None:
    made, other = report(client), report(client)
    assert send(client, made["path"], other["code_header"]).status_code == 404
    answers = [send(client, made["path"], made["code_header"], picture(colour=(40 * n, 0, 0))) for n in range(5)]
    assert [a.status_code for a in answers] == [201] * 4 + [422] and "最多 4 张" in answers[4].json()["detail"]
    again = send(client, made["path"], made["code_header"], picture(colour=(0, 0, 0)))
    assert (again.status_code, again.json()["id"]) == (201, answers[0].json()["id"])
    connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
    connection.execute(sa.text("UPDATE incidents SET state = 'closed', steps = NULL, closed_at = now() WHERE id = :id"), {"id": case_of(connection, other)})
    late = send(client, other["path"], other["code_header"])
    assert (late.status_code, late.json()["detail"]) == (422, "这件事已经办结,不能再加照片。")


@pytest.mark.parametrize("name", ["a bomb of pixels", "an archive behind a photo", "a page", "half a photo", "HEIC"])
def test_what_is_no_photo_leaves_nothing(client: TestClient, application: FastAPI, connection: sa.Connection, name: str) -> None:
    made, (content, said) = report(client), ATTACKS[name]
    before = [*(application.state.home / "photos").rglob("*")]
    refused = send(client, made["path"], made["code_header"], content())
    assert refused.status_code == 422 and said in refused.json()["detail"] and refused.json()["field"] == "photo"
    assert [*(application.state.home / "photos").rglob("*")] == before
    assert connection.scalar(sa.text("SELECT count(*) FROM incident_photos")) == 0


def test_a_body_is_bounded_and_must_be_a_form(client: TestClient) -> None:
    made = report(client)
    assert send(client, made["path"], made["code_header"], b"\xff\xd8\xff" + b"\0" * photos.BYTES).status_code == 413
    wrong = [
        client.post(made["path"], content=b"x", headers=made["code_header"]),
        client.post(made["path"], json={}, headers=made["code_header"]),
        client.post(made["path"], files={"photo": ("a.jpg", b"")}, headers=made["code_header"]),
        client.post(made["path"], files=[("photo", ("a.jpg", picture())), ("photo", ("b.jpg", picture()))], headers=made["code_header"]),
        client.post(made["path"], files={"photo": ("a.jpg", picture())}, data={"kind": "portrait"}, headers=made["code_header"]),
        client.post(made["path"], content=b"--x\r\nbroken", headers=made["code_header"] | {"Content-Type": "multipart/form-data; boundary=x"}),
    ]
    assert [answer.status_code for answer in wrong] == [422] * 6


def test_the_decoder_is_walled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    photo = photos.developed(picture("PNG", (300, 200)))
    assert (photo.width, photo.height) == (300, 200) and photo.content.startswith(b"\xff\xd8\xff")
