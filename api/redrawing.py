"""`POST /areas/{path}/redraw`: what another boundary would change, and the change itself."""

import json
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api import models
from api.collections import PROBLEM
from api.deps import Connection, able, strict
from api.limits import limited
from geo import redrawing
from geo.catalog import RESOURCES
from geo.errors import Invalid
from geo.redrawing import Difference, Strip

AREAS = RESOURCES["areas"]
AreaPath = Annotated[str, Path(pattern="^[0-9A-Z]{2,18}$")]


class Redrawing(BaseModel):
    """The boundary of an area from a day on, and of neighbours that change in the same stroke."""

    model_config = ConfigDict(extra="forbid")

    at: Annotated[date, Field(ge=date(1901, 1, 1), le=date(2300, 1, 1), description="from this day's local midnight on")]
    geometry: models.Geometry
    also: Annotated[dict[str, models.Geometry], Field(max_length=20, description="path of a neighbour → its new boundary")] = {}


routes = APIRouter(tags=["areas"], responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 429, 503), PROBLEM))


@routes.post("/areas/{path}/redraw", summary="Redraw an area", dependencies=[limited("costly"), able("write"), strict("apply")])
def redraw(
    path: AreaPath, new: Redrawing, connection: Connection,
    apply: Annotated[bool, Query(description="false: only tell the difference")] = False,
) -> dict[str, Any]:
    """The records that come to another area, from which to which; the ground that would be in no area or in two (m²). With
    `apply=true` it is done, and `batch` takes it back."""
    also = {neighbour: _drawn(shape, f"also.{neighbour}") for neighbour, shape in new.also.items()}
    told = redrawing.redraw(connection, path, _drawn(new.geometry, "geometry"), new.at, also=also, apply=apply)
    return _written(told)


def _drawn(shape: models.Geometry, field: str) -> bytes:
    try:
        return models.wkb(AREAS, shape)
    except Invalid as error:
        error.facts |= {"field": field, "rule": "areas_geom_check"}
        raise


def _written(told: Difference) -> dict[str, Any]:
    return {
        "at": told.at.isoformat(),
        "level": told.level,
        "closed": told.closed,
        "opened": told.opened,
        "moved": [
            {
                "noun": move.noun, "from": move.source, "to": move.target, "count": move.count, "earlier": move.earlier,
                "households": move.households if move.noun == "buildings" else None,
            }
            for move in told.moved
        ],
        "buildings": told.buildings,
        "households": told.households,
        "gaps": [_strip(strip) for strip in told.gaps],
        "overlaps": [_strip(strip) for strip in told.overlaps],
        "applied": told.applied,
        "batch": str(told.batch) if told.batch else None,
    }


def _strip(strip: Strip) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": json.loads(strip.geometry),
        "properties": {"measure_m2": strip.measure_m2, "areas": strip.others},
    }
