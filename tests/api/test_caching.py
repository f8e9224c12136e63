"""Nothing of one caller is ever served to another: who may keep what, and a cache that several people share, in front of every route."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from anyio.from_thread import start_blocking_portal
from fastapi import Depends, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from api import guard
from api.deps import ANYBODY, CallerNow, anyone, presence
from api.guard import HEADERS, NOBODY, Guarded, kept
from geo import door
from geo.catalog import RESOURCES
from tests import town
from tests.conftest import Client, Within

Headers = Mapping[str, str]


# What a route may say, and what comes of it


@pytest.mark.parametrize(
    ("said", "status", "asked", "known", "cookie", "result"),
    [
        ("", 200, False, False, False, "no-cache"), ("", 200, True, False, False, "no-cache"),
        ("public, max-age=60", 200, False, False, False, "public, max-age=60"), ("public, max-age=60", 200, False, True, False, "public, max-age=60"),
        ("public, max-age=60", 200, True, False, False, "public, max-age=60"),
        # Somebody was asked for, and somebody was there.
        ("public, max-age=60", 200, True, True, False, NOBODY), ("no-cache", 200, True, True, False, NOBODY), ("max-age=60, immutable", 200, True, True, False, NOBODY),
        ("", 200, True, True, False, NOBODY), ("", 200, False, True, False, NOBODY),
        ("private, max-age=60", 200, True, True, False, "private, max-age=60"), ("no-store", 200, True, True, False, "no-store"),
        ("public, max-age=60, x-private", 200, True, True, False, NOBODY),
        # A cookie is one person's; an error of now may be an answer later.
        ("public, max-age=60", 200, False, False, True, NOBODY), ("public, max-age=60", 404, False, False, False, NOBODY), ("", 500, False, False, False, NOBODY),
    ],
)  # fmt: skip
def test_how_an_answer_may_be_kept(said: str, status: int, asked: bool, known: bool, cookie: bool, result: str) -> None:
    assert kept(said, status, asked, known, cookie) == result


@pytest.fixture
def forgetful() -> TestClient:
    """Routes whose author did not think of caches."""
    app = FastAPI()

    @app.get("/asked")
    def asked(who: CallerNow) -> Response:
        return Response("mine", headers={"Cache-Control": "public, max-age=600"})

    @app.get("/silent")
    def silent(who: CallerNow) -> dict[str, str]:
        return {"who": who.actor}

    @app.get("/private")
    def private(who: CallerNow) -> Response:
        return Response("mine", headers={"Cache-Control": "private, max-age=600", "Vary": "Accept, Cookie"})

    @app.get("/anyone", dependencies=[Depends(anyone)])
    def everybody() -> Response:
        return Response("everybody's", headers={"Cache-Control": "public, max-age=600"})

    @app.get("/nothing-said", dependencies=[Depends(anyone)])
    def nothing_said() -> dict[str, str]:
        return {}

    def known(request: guard.Request) -> Any:
        guard.asked_who(request)
        return ANYBODY

    app.dependency_overrides[presence] = known
    app.add_middleware(Guarded)
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer x"}, {"Cookie": "jingwei=x"}, {"Cookie": "lang=en; jingwei=x"}], ids=str)
def test_a_route_that_says_nothing_keeps_nothing(forgetful: TestClient, headers: dict[str, str]) -> None:
    told = {path: forgetful.get(path, headers=headers).headers for path in ("/asked", "/silent", "/private", "/anyone", "/nothing-said")}
    assert {path: head["cache-control"] for path, head in told.items()} == {
        "/asked": NOBODY, "/silent": NOBODY, "/private": "private, max-age=600", "/anyone": "public, max-age=600", "/nothing-said": NOBODY,
    }  # fmt: skip
    assert {path: head.get("vary") for path, head in told.items()} == {
        "/asked": "Cookie, Authorization", "/silent": "Cookie, Authorization", "/private": "Accept, Cookie, Authorization", "/anyone": None, "/nothing-said": None,
    }  # fmt: skip


def test_what_anybody_is_answered_varies_all_the_same(forgetful: TestClient) -> None:
    for headers in ({}, {"Cookie": "lang=en"}):
        answer = forgetful.get("/asked", headers=headers)
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("public, max-age=600", "Cookie, Authorization")
    assert forgetful.get("/nowhere").headers["cache-control"] == NOBODY


# What every answer carries


def test_every_answer_is_dressed(application: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = TestClient(application, raise_server_exceptions=False)
    answers = [
        client.get("/collections"), client.get("/nowhere"), client.post("/collections"), client.get("/static/app/map.js"), client.get("/?z=99"),
        client.post("/collections/parts/items", content=b"x" * 1_000_001), client.get("/me", headers={"Authorization": "Bearer x"}),
    ]  # fmt: skip
    monkeypatch.setattr("api.collections.described", lambda *_: 1 / 0)
    answers.append(strict.get("/collections"))
    assert [answer.status_code for answer in answers] == [200, 404, 405, 200, 400, 413, 401, 500]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert "object-src 'none'" in answer.headers["content-security-policy"]
        assert "strict-transport-security" not in answer.headers
        assert answer.headers["cache-control"] == NOBODY or answer.status_code == 200
    nonces = {re.search(r"nonce-([\w-]+)", answer.headers["content-security-policy"])[1] for answer in answers}  # type: ignore[index]
    assert len(nonces) == len(answers)


def test_a_browser_is_held_to_tls_where_there_is_tls(client: Client, env: Callable[..., None]) -> None:
    env(BASE_URL="https://jingwei.example")
    for path in ("/collections", "/nowhere"):
        assert client.get(path).headers["strict-transport-security"] == "max-age=31536000"
    env(BASE_URL="http://jingwei.example")
    assert "strict-transport-security" not in client.get("/collections").headers


# A cache in front


class SharedCache:
    """A cache for several people (RFC 9111) that keeps whatever it may for as long as it may, also what nothing is said of."""

    HEURISTIC = (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)

    def __init__(self, origin: Callable[[str, Headers], Any]) -> None:
        self.origin = origin
        self.stored: dict[str, list[tuple[Headers, Any]]] = {}
        self.missed: list[str] = []

    def get(self, url: str, headers: Headers) -> tuple[bytes, bool]:
        """The body for a request, and whether it comes from the store."""
        lowered = {name.lower(): value for name, value in headers.items()}
        for before, answer in self.stored.get(url, ()):
            if any(before.get(name) != lowered.get(name) for name in self.listed(answer, "vary")):
                continue
            if "no-cache" not in self.listed(answer, "cache-control"):
                return answer.content, True
            if "etag" in answer.headers:
                again = self.origin(url, {**headers, "If-None-Match": answer.headers["etag"]})
                if again.status_code == 304:
                    return answer.content, True
        self.missed.append(url)
        answer = self.origin(url, headers)
        if self.may_be_kept(answer, lowered):
            self.stored.setdefault(url, []).insert(0, (lowered, answer))
        return answer.content, False

    @staticmethod
    def listed(answer: Any, name: str) -> list[str]:
        return [word.strip().lower() for word in answer.headers.get(name, "").split(",") if word.strip()]

    def may_be_kept(self, answer: Any, request: Headers) -> bool:
        said = self.listed(answer, "cache-control")
        if "no-store" in said or "private" in said or "*" in self.listed(answer, "vary"):
            return False
        if "authorization" in request and not {"public", "must-revalidate"} & set(said):
            return False
        return answer.status_code in self.HEURISTIC or any(word.startswith("max-age") for word in said)


def routes_of(router: Any) -> Iterator[APIRoute]:
    """Every route that answers, however deep it was included."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        elif isinstance(route, APIRoute):
            yield route


# One of each kind: coarse to the public, drafts, everybody's, of a person, of the areas themselves.
KINDS = ("incidents", "zones", "facilities", "residents", "areas")
PLACE = {"lon": 122.605, "lat": 29.805, "z": 16}
ASKED = {"level": "grid", "lon": PLACE["lon"], "lat": PLACE["lat"], "layer": "incidents", "metres": 50_000}


def addresses(application: FastAPI, ids: Mapping[str, list[UUID]], tile: str, fingerprints: list[str]) -> list[str]:
    """An address or more of every route that reads, by the table of routes: one that is new is among them."""
    found: list[str] = []
    for route in routes_of(application):
        if "GET" not in (route.methods or ()) or route.path.startswith("/oidc"):
            continue
        query = "&".join(f"{p.alias}={ASKED[p.alias]}" for p in route.dependant.query_params if p.field_info.is_required() and p.alias in ASKED)
        z, x, y = tile.split("/")
        paths = [route.path.replace("{z}/{x}/{y}", tile).replace("{z}/{row}/{column}", f"{z}/{y}/{x}").replace("{matrices}", "WebMercatorQuad")]
        if "{layer}" in route.path:
            paths = [path.replace("{layer}", name) for path in paths for name, noun in RESOURCES.items() if noun.geometry]
            paths += [f"{path}?v=0" for path in paths]
            if "/public/" not in route.path:
                paths += [f"{path}&s={s}" for path in paths if path.endswith("v=0") and "/incidents/" in path for s in fingerprints]
        if "{name}" in route.path:
            paths = [path.replace("{name}", name) for path in paths for name in KINDS]
        if "{id}" in route.path:
            noun = route.path.split("/")[2]
            paths = [path.replace("{id}", str(id)) for path in paths for id in ids.get(noun, [UUID(int=0)])]
        paths = [re.sub(r"{\w+(:path)?}", "app/map.js", path) for path in paths]
        found += [f"{path}?{query}" if query else path for path in paths]
        if route.path == "/within":
            found += [f"/within?layer={name}&lon={PLACE['lon']}&lat={PLACE['lat']}&metres=50000" for name in ("incidents", "facilities")]
    return [*found, f"/?view=list&within={town.PREFIX}", "/?f=html", "/?lang=en", "/nowhere"]


def peopled(connection: sa.Connection, entrance: Within) -> tuple[dict[str, Headers], dict[str, list[UUID]], list[str]]:
    """Rows of every noun in two grids; the credentials of people of either, of both and of none; the fingerprints of their tiles."""
    from geo import tiles

    shapes = {"POINT": town.point, "MULTILINESTRING": lambda x, y: town.line((x, y), (x + 0.1, y)), "MULTIPOLYGON": lambda x, y: town.box(x, y, x + 0.1, y + 0.1)}
    ids: dict[str, list[UUID]] = {}
    for noun, resource in RESOURCES.items():
        if noun == "areas":
            ids[noun] = list(connection.scalars(sa.text("SELECT id FROM areas ORDER BY path")))[:3]
            continue
        for n, x in enumerate((0.5, 2.5)):
            home = {"building": ids["buildings"][n]} if "building" in [field.name for field in resource.fields] else {}
            shape = shapes[resource.geometry](x, 0.5) if resource.geometry else None
            made = town.add(connection, noun, shape, **home)
            ids.setdefault(noun, []).append(made)
            if resource.label not in ("role",) and not resource[resource.label].name_of_person:
                connection.execute(sa.text(f"UPDATE {noun} SET {resource.label} = :told WHERE id = :id"), {"told": f"canary-{noun}-{n}", "id": made})
    people: dict[str, Headers] = {"nobody": {}}
    marks = []
    for login, role, areas in (
        ("worker-a", "grid_worker", (town.A,)), ("worker-c", "grid_worker", (town.C,)), ("leading", "street", (town.PREFIX,)), ("steward", "steward", (town.A,)),
        ("resident", "resident", ()), ("keeper", "system_admin", ()),
    ):  # fmt: skip
        account = town.person(connection, login, role, *areas)
        token = door.opened(entrance, account, "")  # type: ignore[arg-type]
        people[login] = {"Cookie": f"jingwei={token}"}
        marks.append(tiles.fingerprint(door.by_session(entrance, token).caller))  # type: ignore[arg-type]
        town.token(connection, connection.scalar(sa.text("SELECT id FROM appointments WHERE account = :a"), {"a": account}), f"token-{login}")
    people["token-c"] = {"Authorization": "Bearer token-worker-c"}
    return people, ids, marks


def tile_of(connection: sa.Connection) -> str:
    """The tile at which both grids are, that every layer has begun at."""
    return "/".join(map(str, connection.execute(
        sa.text("SELECT 17, floor((:lon + 180) / 360 * 2 ^ 17)::int, floor((1 - asinh(tan(radians(:lat))) / pi()) / 2 * 2 ^ 17)::int"),
        {"lon": PLACE["lon"], "lat": PLACE["lat"]},
    ).one()))


def same(body: bytes) -> bytes:
    """An answer without what is new in each: the nonce of its scripts."""
    return re.sub(rb'nonce="[\w-]+"', b"", body)


Through = Callable[[str, Headers], tuple[bytes, bool]]


def walked(origin: Callable[[str, Headers], Any], through: Through, urls: list[str], people: Mapping[str, Headers]) -> tuple[int, int, int]:
    """Everybody asks for everything through a cache: how many answers there were, how many came from its store, and how many of
    these were not what the server itself says to whoever asked."""
    stored = foreign = 0
    for url in urls:
        for headers in people.values():
            got, from_store = through(url, headers)
            stored += from_store
            foreign += from_store and same(got) != same(origin(url, headers).content)
    return len(urls) * len(people), stored, foreign


def test_a_shared_cache_gives_nobody_what_is_another_s(
    application: FastAPI, client: Client, connection: sa.Connection, entrance: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, ids, marks = peopled(connection, entrance)
    urls = addresses(application, ids, tile_of(connection), marks[:3])
    asking = {who: people[who] for who in ("worker-a", "nobody", "worker-c", "resident", "token-c")}

    def origin(url: str, headers: Headers) -> Any:
        client.cookies.clear()
        return client.get(url, headers=headers)

    # What there is to leak, first: a worker sees what the others do not.
    sample = [f"/collections/residents/items/{ids['residents'][0]}", "/collections/incidents/items", "/me"]
    told = {who: tuple(origin(url, people[who]).content for url in sample) for who in ("nobody", "worker-a", "worker-c")}
    assert all(len(set(answers)) >= 2 for answers in zip(*told.values(), strict=True))
    # One event loop for all, or each request would start its own. Entered, the client would end the session's engine.
    with start_blocking_portal() as portal:
        monkeypatch.setattr(client, "portal", portal)
        cache = SharedCache(origin)
        answers, _, foreign = walked(origin, cache.get, urls, asking)
        assert foreign == 0
        assert answers > 500
        # It is a cache: what is everybody's was asked for once.
        everybodys = [url for url in urls if "/public/" in url and "v=" in url]
        assert [cache.missed.count(url) for url in everybodys] == [1] * sum(1 for noun in RESOURCES.values() if noun.geometry)

        monkeypatch.setattr(guard, "kept", lambda *_: "public, max-age=60")
        monkeypatch.setattr("api.deps.asked_who", lambda _: None)
        assert walked(origin, SharedCache(origin).get, [*sample, "/?f=html"], asking)[2] > 5


def test_what_is_everybodys_is_kept_and_asked_for_again_by_its_tag(client: Client, connection: sa.Connection) -> None:
    town.add(connection, "parts")
    url = f"/tiles/public/parts/{tile_of(connection)}.pbf"
    first = client.get(url)
    assert first.headers["cache-control"] == "public, no-cache"
    assert "cookie" not in first.headers.get("vary", "").lower()
    again = client.get(url, headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    connection.execute(sa.text("UPDATE parts SET name = 'another'"))
    assert client.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 200
