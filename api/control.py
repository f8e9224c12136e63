"""`POST /zones`: draw a zone and learn what it touches."""

import json
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from api import models
from api.collections import GEOJSON, PROBLEM, IdempotencyKey, added, etag
from api.deps import CallerNow, Connection, Key, able, strict
from geo import control, query
from geo.catalog import RESOURCES

ZONES = RESOURCES["zones"]
New: Any = models.feature(ZONES)

routes = APIRouter(tags=["zones"], responses=dict.fromkeys((400, 401, 403, 409, 422, 503), PROBLEM))


@routes.post("/zones", status_code=201, summary="Draw a zone", dependencies=[able("write"), strict()], response_class=Response)
def draw(
    new: New, connection: Connection, who: CallerNow, key: Key, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store a zone and answer with it, the areas it touches (m², shares) and what stands in it (counts)."""
    id, replayed = added(connection, ZONES, new, who, key, "/zones", idempotency_key)
    text, version = query.one(connection, ZONES, id, who)
    body = json.loads(text) | reach(connection, id)
    headers = {"ETag": etag(version), "Location": f"/collections/zones/items/{id}", **replayed}
    return Response(json.dumps(body, ensure_ascii=False), 201, headers, GEOJSON)


def reach(connection: Connection, id: UUID) -> dict[str, Any]:
    """What a zone touches, as members beside its GeoJSON."""
    return {
        "areas": control.touched(connection, id),
        "affected": control.affected(connection, id),
    }
