"""`GET /indicators`: how cases went, with numerator, denominator, definition and cut-off beside every rate."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.collections import PROBLEM
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from geo import indicators
from geo.indicators import Axis
from geo.language import Language, translated

routes = APIRouter(tags=["indicators"], responses=dict.fromkeys((400, 401, 403, 422, 503), PROBLEM))


@routes.get("/indicators", summary="How cases went", dependencies=[able("write"), strict("area", "since", "until", "by")])
def told(
    answer: Response, connection: Connection, who: CallerNow, language: LanguageNow, since: datetime, until: datetime,
    area: Annotated[str | None, Query(pattern="^[0-9A-Z]{2,18}$", description="a path; without it, your own area")] = None, by: Axis = "all",
) -> dict[str, Any]:
    """In a period, `until` not included, in local time without another zone. Areas, bodies, matters and channels are compared, persons never."""
    answer.headers["Cache-Control"] = "no-store"
    path = area or (who.scope[0] if who.scope else "")
    rows = indicators.counted(connection, path, since, until, by)
    return {
        "area": path, "since": since, "until": until, "by": by, "definition": indicators.VERSION, "rows": [_row(row, language) for row in rows],
    }


def _row(row: indicators.Row, language: Language) -> dict[str, Any]:
    return {
        "key": row.key, "name": row.name, **row.stock, "opened_before": row.counts["opened_before"],
        "indicators": [
            {
                "code": rate.indicator.code, "title": translated(rate.indicator.title, language), "numerator": rate.numerator,
                "denominator": rate.denominator, "value": None if rate.value is None else round(rate.value, 4), "few": rate.few,
            } for rate in row.rates
        ],
    }  # fmt: skip
