"""`GET /topology`: whether the areas of a level fit together and are answered for."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.collections import GEOJSON, PROBLEM
from api.deps import Connection, LanguageNow, strict
from api.limits import limited
from geo import topology
from geo.catalog import LEVELS
from geo.language import translated
from geo.topology import KINDS, Finding

routes = APIRouter(tags=["topology"])


@routes.get(
    "/topology", summary="Gaps, overlaps, codes and posts of one level", dependencies=[limited("costly"), strict("level", "theme")],
    response_class=Response, responses={200: {"content": {GEOJSON: {}}}, 400: PROBLEM, 429: PROBLEM, 503: PROBLEM},
)
def topology_of(
    connection: Connection, language: LanguageNow,
    level: Annotated[str, Query(description="|".join(choice.code for choice in LEVELS))],
    theme: Annotated[str, Query(pattern="^[a-z][a-z0-9_]{0,39}$")] = "governance",
) -> Response:
    """A feature for each finding: its kind, a sentence, its measure (m² on the local Gauss-Krüger plane) and the areas it
    is about; a summary by kind; and how much ground the areas of the level and of the level above cover."""
    found = topology.report(connection, level, theme)
    body = {
        "type": "FeatureCollection",
        "level": found.level,
        "areas": found.areas,
        "covered_m2": found.covered_m2,
        "parent": found.parent,
        "parent_m2": found.parent_m2,
        "summary": [
            {"kind": kind, "title": translated(KINDS[kind][0], language), **line} for kind, line in found.summary.items()
        ],
        "features": [_feature(finding, language) for finding in found.findings],
    }
    return Response(json.dumps(body, ensure_ascii=False), media_type=GEOJSON)


def _feature(finding: Finding, language: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": json.loads(finding.geometry) if finding.geometry else None,
        "properties": {
            "kind": finding.kind,
            "title": translated(KINDS[finding.kind][0], language),
            "sentence": finding.said(language),
            "measure_m2": finding.measure_m2,
            "count": finding.count,
            "proposed": finding.facts.get("proposed"),
            "areas": [{"id": a.id, "path": a.path, "name": a.name, "code": a.code} for a in finding.areas],
        },
    }
