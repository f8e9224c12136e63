"""Every error has a status, and every refusal is a problem document that a person can read in two languages."""

import inspect
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg
from starlette.testclient import TestClient

from api.errors import STATUS, TITLES, problem
from geo import db, errors
from geo.errors import GeoError
from geo.language import preferred, translated
from tests import town


def family(kind: type[GeoError]) -> Iterator[type[GeoError]]:
    """A class and all below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from family(below)


FAMILY = [kind for kind in family(GeoError) if kind.__module__ == errors.__name__]


def test_every_error_has_a_status() -> None:
    assert set(family(GeoError)) == set(STATUS) == set(FAMILY)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_every_error_is_a_sentence_of_its_own(kind: type[GeoError]) -> None:
    assert kind.__doc__ is not None
    assert kind.__doc__.endswith("。")
    assert "\n" not in kind.__doc__
    assert re.search(r"[\u4e00-\u9fff]", kind.__doc__)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.slug())


PROBLEMS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "unknown address": ("GET", "/nowhere", {}, 404),
    "unknown collection": ("GET", "/collections/nowhere", {}, 404),
    "unknown feature": ("GET", "/collections/parts/items/01912f0e-0000-7000-8000-000000000000", {}, 404),
    "unknown layer": ("GET", "/tiles/nowhere/1/0/0.pbf", {}, 404),
    "wrong method": ("DELETE", "/collections", {}, 405),
    "unknown parameter": ("GET", "/collections/parts/items?zzz=1", {}, 400),
    "bad parameter": ("GET", "/locate?lon=x&lat=1", {}, 400),
    "missing parameter": ("GET", "/locate?lon=1", {}, 400),
    "no body": ("POST", "/collections/parts/items", {}, 422),
    "no JSON": ("POST", "/collections/parts/items", {"content": b"{", "headers": {"content-type": "application/json"}}, 422),
    "bad body": ("POST", "/collections/parts/items", {"json": {"type": "Feature"}}, 422),
    "too large": ("POST", "/collections/parts/items", {"content": b" " * 1_000_001}, 413),
    "broken rule": ("POST", "/zones", {"json": "zone without authority"}, 422),
}


@pytest.mark.parametrize(("method", "path", "options", "status"), PROBLEMS.values(), ids=PROBLEMS)
def test_every_refusal_is_a_problem_document(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    if "json" in options and isinstance(options["json"], str):
        options = {"json": town.example(db.RESOURCES["zones"], help_phone=None)}
    told: dict[str, dict[str, Any]] = {}
    for language in ("zh", "en"):
        headers = {**options.get("headers", {}), "Accept-Language": language}
        answer = client.request(method, path, **{**options, "headers": headers})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["content-language"] == language
        told[language] = answer.json()
        assert told[language]["status"] == status
        assert told[language]["type"].startswith("/problems/")
        assert told[language]["title"]
        assert told[language]["detail"]
        assert not re.search(r"Traceback|psycopg|sqlalchemy|SELECT |site-packages|\.py", answer.text)
    assert re.search(r"[\u4e00-\u9fff]", told["zh"]["title"])
    assert not re.search(r"[\u4e00-\u9fff]", told["en"]["title"] + told["en"]["detail"])
    assert told["zh"]["type"] == told["en"]["type"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh"), ("", "zh"), ("en", "en"), ("en-GB,en;q=0.9", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("fr,en;q=0.5", "en"),
        ("de", "zh"), ("en;q=0.1,zh;q=0.2", "zh"), ("en;q=x", "zh"), ("," * 10_000, "zh"), ("*", "zh"), ("en;q=nan", "en"),
    ],
)
def test_the_language_is_the_one_asked_for(header: str | None, language: str) -> None:
    assert preferred(header) == language


def test_a_text_without_a_translation_stays_as_it_is() -> None:
    assert translated("没有人翻译过的话", "en") == "没有人翻译过的话"


class Diagnosis:
    """What a driver error says of itself."""

    constraint_name = column_name = table_name = None


@pytest.mark.parametrize("kind", [kind for _, kind in inspect.getmembers(pg, inspect.isclass) if issubclass(kind, psycopg.Error)])
def test_every_driver_error_means_something(kind: type[psycopg.Error]) -> None:
    said = kind("x")
    meaning = db.meaning(said)
    assert type(meaning) in STATUS
    if issubclass(kind, psycopg.OperationalError | psycopg.IntegrityError | psycopg.DataError):
        assert STATUS[type(meaning)] != 500, kind


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (pg.UniqueViolation, 409), (pg.ExclusionViolation, 409), (pg.SerializationFailure, 409), (pg.DeadlockDetected, 409),
        (pg.CheckViolation, 422), (pg.ForeignKeyViolation, 422), (pg.NotNullViolation, 422), (pg.CharacterNotInRepertoire, 422),
        (pg.DatetimeFieldOverflow, 422), (pg.InsufficientPrivilege, 403), (pg.ReadOnlySqlTransaction, 403), (pg.QueryCanceled, 503),
        (pg.LockNotAvailable, 503), (pg.TooManyConnections, 503), (pg.DiskFull, 503), (pg.AdminShutdown, 503),
        (psycopg.OperationalError, 503), (psycopg.InterfaceError, 500), (pg.UndefinedTable, 500), (pg.SyntaxError, 500),
    ],
)  # fmt: skip
def test_driver_errors_by_what_can_be_done(kind: type[psycopg.Error], status: int) -> None:
    assert STATUS[type(db.meaning(kind("x")))] == status


def test_what_postgis_says_when_it_is_cancelled_is_no_fault_of_ours() -> None:
    assert type(db.meaning(pg.InternalError_("InterruptedException: Interrupted!"))) is errors.Unavailable


def test_an_unforeseen_error_says_nothing_of_itself(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret of /etc/passwd")

    monkeypatch.setattr("api.locating.locating.locate", broken)
    with caplog.at_level(logging.ERROR, "jingwei"):
        quiet = TestClient(client.app, raise_server_exceptions=False)
        answer = quiet.get("/locate?lon=122&lat=29")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert "the secret" in caplog.text


def test_a_problem_document_carries_whatever_was_in_the_request() -> None:
    from starlette.requests import Request

    request = Request({"type": "http", "headers": []})
    answer = problem(request, 422, "invalid", "内容不符合规则。", "x", {"value": "\ud800", "nan": float("nan"), "id": Path("x")})
    assert b"\\ud800" in bytes(answer.body)


def test_titles_are_sentences() -> None:
    assert all(title.endswith("。") for title in TITLES.values())
