"""What comes from people stays text, and what is fetched comes from here."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.conftest import Server

pytestmark = pytest.mark.browser

Opened = Callable[..., Page]
PATHS = (
    "/",
    "/?z=17&lat=29.8&lng=122.602",
    "/?view=list",
    "/docs",
    "/review",
    "/boundaries",
    "/identify?lon=122.602&lat=29.8",
)
# South-west of the town, where nothing else is.
WEST, SOUTH, STEP = 122.4, 29.7, 0.002


def test_no_request_leaves_the_origin(server: str, contexts: Callable[..., BrowserContext]) -> None:
    context = contexts()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    for path in PATHS:
        page.goto(server + path)
        page.wait_for_load_state("networkidle")
    page.goto(server)
    page.locator("#map_main").click()
    expect(page.locator("#card h2")).to_be_visible()
    assert len(asked) > 50
    assert [url for url in asked if not url.startswith((server + "/", "data:"))] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_script_without_the_nonce_does_not_run(opened: Opened, path: str) -> None:
    page = opened(path)
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.__x = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.__x = 1'>");
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.__x") is None


def test_every_answer_carries_the_policy(server: str) -> None:
    for path in (*PATHS, "/collections", "/nowhere"):
        policy = httpx2.get(server + path, headers={"Accept": "text/html"}).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "'unsafe-eval'" not in policy
        assert "script-src 'self' 'nonce-" in policy
    # In a tile there is nothing that could want anything.
    assert httpx2.get(server + "/tiles/areas/14/13768/6741.pbf").headers["content-security-policy"].startswith("default-src 'none'")


def test_no_two_pages_share_a_nonce(server: str) -> None:
    headers = {"Accept": "text/html"}
    policies = {httpx2.get(server, headers=headers).headers["content-security-policy"] for _ in range(3)}
    assert len(policies) == 3


def shapes(at: int) -> dict[str, dict[str, Any]]:
    x, y = WEST + at % 5 * STEP, SOUTH + at // 5 * STEP
    corners = [(x, y), (x + STEP / 2, y), (x + STEP / 2, y + STEP / 2), (x, y + STEP / 2), (x, y)]
    return {
        "POINT": {"type": "Point", "coordinates": [x + STEP / 4, y + STEP / 4]},
        "MULTIPOLYGON": {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]},
        "MULTILINESTRING": {"type": "LineString", "coordinates": [[x, y], [x + STEP / 2, y + STEP / 2]]},
    }


def records(text: str, at: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every noun that a map, a card or a list shows, with `text` wherever a text may stand."""
    short = text[:40]
    ground, spot, way = shapes(at)["MULTIPOLYGON"], shapes(at)["POINT"], shapes(at)["MULTILINESTRING"]
    zone = {
        "kind": "gas_alert", "state": "active", "legal_basis": text, "deciding_organ": text, "document_number": text,
        "measures": text, "starts_at": "2026-01-01T00:00:00+08:00", "planned_end": "2126-01-01T00:00:00+08:00",
        "help_phone": short, "appeal_channel": text, "reason": text,
    }  # fmt: skip
    for noun, shape, properties in (
        ("areas", ground, {"name": text, "code": short, "level": "grid", "lead_body": text}),
        ("compounds", ground, {"name": text, "stated_area": text}),
        ("buildings", ground, {"name": text, "stated_area": text}),
        ("land_parcels", ground, {"name": text}),
        ("roads", way, {"name": text}),
        ("facilities", spot, {"name": text, "kind": "clinic", "stated_area": text}),
        ("parts", spot, {"name": text, "kind": "manhole"}),
        ("organisations", spot, {"name": text, "kind": "shop"}),
        ("incidents", spot, {"title": text, "channel": "public", "stated_area": text}),
        ("checkpoints", spot, {"name": text}),
        ("zones", ground, {"name": text} | zone),
    ):
        yield noun, {"type": "Feature", "id": str(uuid.uuid4()), "geometry": shape, "properties": properties}


@pytest.fixture
def infested(server: Server, payloads: list[str]) -> Iterator[None]:
    """The town with every payload in every text, for the length of a test."""
    written = []
    codes = {
        noun: httpx2.get(f"{server}/collections/{noun}/items", params={"limit": 1}).json()["features"][0][
            "properties"
        ]["kind"]
        for noun in ("facilities", "parts")
    }
    with httpx2.Client(base_url=server, timeout=30, headers={"Origin": server}) as client:
        client.post("/sessions", json={"login": "street", "password": server.password}).raise_for_status()
        for at, payload in enumerate(payloads):
            for noun, feature in records(payload, at):
                if noun in codes:
                    feature["properties"]["kind"] = codes[noun]
                answer = client.post(f"/collections/{noun}/items", json=feature)
                assert answer.status_code == 201, (noun, payload, answer.text)
                written.append(f"/collections/{noun}/items/{feature['id']}")
        yield
        for item in reversed(written):
            client.delete(item)


def test_payloads_in_every_text_stay_texts(
    infested: None, opened: Opened, server: str, payloads: list[str]
) -> None:
    middle = f"lat={SOUTH + 2 * STEP}&lng={WEST + 2 * STEP}"
    every = "areas,compounds,buildings,land_parcels,roads,facilities,parts,organisations,incidents,checkpoints,zones"
    page = opened(f"/?z=17&{middle}&layers={every}")
    for at, payload in enumerate(payloads):
        lon, lat = WEST + at % 5 * STEP + STEP / 4, SOUTH + at // 5 * STEP + STEP / 4
        page.evaluate("([lat, lon]) => map_main.fire('click', {latlng: L.latLng(lat, lon)})", [lat, lon])
        expect(page.locator("#card h2")).to_have_text(payload.strip())
    assert page.evaluate("() => window.__x") is None
    for path in (f"/?z=18&{middle}&layers={every}", "/?view=list", "/review", "/boundaries"):
        page.goto(server + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("() => window.__x") is None
        assert str(7 * 7191) not in page.content()
    page.goto(server + "/?view=list")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("() => window.__x") is None
