"""`GET /indicators`: how cases went, with numerator, denominator, definition and cut-off beside every rate; a page, records, or a sheet."""

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response

from api import desk, pages
from api.collections import PROBLEM, XLSX
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from api.pages import wants_html
from geo import enrolling, indicators
from geo.db import Caller
from geo.indicators import Axis, Load, Row
from geo.language import Language, translated
from geo.sheets import safe
from maps import pages as drawn

Form = Literal["html", "json", "xlsx", "csv"]
AXES: dict[str, str] = {
    "all": "合计", "street": "按街道", "community": "按社区", "grid": "按网格", "body": "按主办", "matter": "按事项", "channel": "按来源",
}
SHOWN = 200  # rows of a page; a sheet has all

routes = APIRouter(tags=["indicators"], responses=dict.fromkeys((400, 401, 403, 422, 503), PROBLEM))


@routes.get(
    "/indicators", summary="How cases went", dependencies=[able("write"), strict("area", "since", "until", "by")], response_model=None,
    responses={200: {"content": {"application/json": {}, "text/html": {}, "text/csv": {}, XLSX: {}}}},
)
def told(
    request: Request, answer: Response, connection: Connection, who: CallerNow, language: LanguageNow,
    since: datetime | None = None, until: datetime | None = None,
    area: Annotated[str | None, Query(pattern="^([0-9A-Z]{2,18})?$", description="a path; without it, your own area")] = None, by: Axis = "all",
    f: Form | None = None,
) -> Any:
    """In a period, `until` not included, in local time without another zone; without one, this month. Areas, bodies, matters and channels
    are compared, persons never. A page to a browser, records to a program; `f=xlsx` and `f=csv` give sheets."""
    path = area or (who.scope[0] if who.scope else "")
    began = datetime.now(enrolling.LOCAL)
    since, until = period(since, until, began.date())
    rows = indicators.counted(connection, path, since, until, by)
    beside = indicators.load(connection, [path, *(row.key for row in rows)] if by in ("street", "community", "grid") else [path])
    if by == "all":
        beside |= {"": beside[path]} if path in beside else {}
    if f in ("xlsx", "csv"):
        return sheet(f, path, since, until, indicators.table(rows, beside, lambda text: translated(text, language)))
    if wants_html(request, f):
        return page(request, connection, who, language, path, (since, until, by), rows, beside, began)
    answer.headers["Cache-Control"] = "no-store"
    return {
        "area": path, "since": since, "until": until, "by": by, "definition": indicators.VERSION, "as_of": began,
        "rows": [_row(row, language) for row in rows],
    }  # fmt: skip


def period(since: datetime | None, until: datetime | None, today: date) -> tuple[datetime, datetime]:
    """The period that is asked for, by local time; without a beginning this month, without an end the end of that month."""
    begun = since or datetime.combine(today.replace(day=1), time())
    ended = until or datetime.combine((begun.date().replace(day=1) + timedelta(days=32)).replace(day=1), time())
    return tuple(one if one.tzinfo else one.replace(tzinfo=enrolling.LOCAL) for one in (begun, ended))  # type: ignore[return-value]


def page(
    request: Request, connection: sa.Connection, who: Caller, language: Language, path: str, asked: tuple[datetime, datetime, Axis], rows: list[Row],
    beside: dict[str, Load], began: datetime,
) -> Response:
    """The same for people: the four panels, the rates, the posts."""
    since, until, by = asked
    whole = indicators.summed(rows)
    query = {"area": path, "since": since.date().isoformat(), "until": until.date().isoformat(), "by": by}
    month = since.date().replace(day=1)
    before, after = (month - timedelta(days=1)).replace(day=1), (month + timedelta(days=32)).replace(day=1)
    facts = {
        "query": urlencode(query), "asked": query, "axes": AXES, "areas": desk.areas_offered(connection, language), "rows": rows[:SHOWN], "many": len(rows),
        "whole": whole, "load": beside, "own": beside.get(path), "posts": indicators.posts(whole) if whole else [],
        "indicators": tuple(indicators.INDICATORS.values()), "stock": indicators.STOCK, "version": indicators.VERSION, "few": indicators.FEW, "as_of": began,
        "months": [
            (title, urlencode(query | {"since": begun.isoformat(), "until": ended.isoformat()}))
            for title, begun, ended in (("上一个月", before, month), ("下一个月", after, (after + timedelta(days=32)).replace(day=1)))
        ],
    }
    return pages.private(pages.page(request, language, drawn.indicators(pages.reader(request, language), facts)))


def sheet(form: Literal["xlsx", "csv"], path: str, since: datetime, until: datetime, lines: Iterator[list[object]]) -> Response:
    """The rates as a file in which no cell is a formula."""
    name = f"indicators-{path}-{since:%Y%m%d}-{until:%Y%m%d}.{form}"
    headers = {"Content-Disposition": f"attachment; filename=\"{quote(name)}\"", "Cache-Control": "no-store"}
    if form == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([safe(cell) for cell in line] for line in lines)
        return Response(text.getvalue().encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)
    import xlsxwriter

    book = io.BytesIO()
    with xlsxwriter.Workbook(book, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as made:
        written = made.add_worksheet()
        for n, line in enumerate(lines):
            written.write_row(n, 0, line)
        written.freeze_panes(1, 0)
        written.set_column(0, 1, 18)
    return Response(book.getvalue(), media_type=XLSX, headers=headers)


def _row(row: Row, language: Language) -> dict[str, Any]:
    return {
        "key": row.key, "name": row.name, **row.stock, "opened_before": row.counts["opened_before"],
        "indicators": [
            {
                "code": rate.indicator.code, "title": translated(rate.indicator.title, language), "numerator": rate.numerator,
                "denominator": rate.denominator, "value": None if rate.value is None else round(rate.value, 4), "few": rate.few,
            } for rate in row.rates
        ],
    }  # fmt: skip
