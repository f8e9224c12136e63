"""What a list of features is asked for: the parameters of OGC API – Features, Parts 1 to 3, as a `geo.query.Filter`."""

import base64
import binascii
import json
from collections.abc import Callable
from datetime import datetime, time
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Query, Request

from api.deps import CallerNow, box, equal_to
from geo import cql, query, references
from geo.db import TIME_ZONE
from geo.errors import BadQuery
from geo.query import Filter, Interval, Sort
from geo.references import CRS84, Reference
from geo.resource import Audience, Resource

PARAMETERS = frozenset({"bbox", "bbox-crs", "crs", "datetime", "filter", "filter-lang", "filter-crs", "sortby", "limit", "after", "before", "f"})
MOST = 10_000

Uri = Annotated[str | None, Query(max_length=200)]


def wanted(resource: Resource) -> Callable[..., Filter]:
    """The filter of a list of `resource`, from its query parameters."""

    def read(
        request: Request,
        who: CallerNow,
        bbox: Annotated[str | None, Query(max_length=400, description="west,south,east,north, in the order of `bbox-crs`")] = None,
        bbox_crs: Annotated[str | None, Query(alias="bbox-crs", max_length=200, description="of `bbox`; without it longitude and latitude")] = None,
        datetime: Annotated[str | None, Query(max_length=100, description="a moment, a day, or two with `/` between; `..` for an open end")] = None,
        filter: Annotated[str | None, Query(description="CQL2: `state = 'open' AND S_INTERSECTS(geom, BBOX(…))`")] = None,
        filter_lang: Annotated[cql.Language, Query(alias="filter-lang")] = "cql2-text",
        filter_crs: Annotated[str | None, Query(alias="filter-crs", max_length=200, description="of the geometries in `filter`")] = None,
        sortby: Annotated[str | None, Query(max_length=200, description="fields, with commas between; `-` before one that falls")] = None,
        limit: Annotated[int, Query(ge=1, description="at most 10,000; more is taken as 10,000")] = 100,
        after: Annotated[str | None, Query(max_length=2000, description="where the page begins: as `next` says")] = None,
        before: Annotated[str | None, Query(max_length=2000, description="where it ends: as `prev` says")] = None,
        crs: Annotated[str | None, Query(max_length=200, description="of the answer: one of those that the collection tells")] = None,
    ) -> Filter:
        audience = who.sees(resource)
        if after is not None and before is not None:
            raise BadQuery(parameter="before")
        sort = _sorted(sortby, resource, audience)
        return Filter(
            bbox=box(bbox, _named(bbox_crs, "bbox-crs")),
            equals=equal_to(request, resource, audience, set(PARAMETERS)),
            limit=min(limit, MOST),
            condition=_condition(filter, filter_lang, filter_crs, resource, audience),
            time=_time(datetime),
            sort=sort,
            place=_place(after, before, sort, resource, audience),
            backwards=before is not None,
        )

    return read


def reference(crs: Annotated[str | None, Query(max_length=200, include_in_schema=False)] = None) -> Reference:
    """What an answer is written in, from `crs`."""
    return _named(crs, "crs")


def _named(uri: str | None, parameter: str) -> Reference:
    return references.named(uri, parameter) if uri else CRS84


def _condition(text: str | None, language: cql.Language, crs: str | None, resource: Resource, audience: Audience) -> Any:
    written_in = _named(crs, "filter-crs")
    return None if text is None else cql.compiled(cql.parsed(text, language), resource, audience, written_in)


def _time(text: str | None) -> Interval | None:
    """A moment, a day, or a period: its first and last moment. A day without a zone is one of the clocks of the place."""
    if text is None:
        return None
    ends = text.split("/")
    try:
        if len(ends) == 1:
            return _moment(ends[0]), _moment(ends[0], last=True)
        begun, ended = ends
        period = (_moment(begun) if begun not in ("", "..") else None, _moment(ended, last=True) if ended not in ("", "..") else None)
    except ValueError as error:
        raise BadQuery(parameter="datetime") from error
    if period == (None, None) or (period[0] and period[1] and period[0] > period[1]):
        raise BadQuery(parameter="datetime")
    return period


def _moment(text: str, last: bool = False) -> datetime:
    moment = datetime.fromisoformat(text)
    if not 1 < moment.year < 9999:
        raise ValueError
    if len(text) == 10:
        moment = datetime.combine(moment, time.max if last else time.min)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(TIME_ZONE))


def _sorted(text: str | None, resource: Resource, audience: Audience) -> tuple[Sort, ...]:
    if not text:
        return ()
    found = []
    for part in text.split(","):
        name = part.removeprefix("+").removeprefix("-").strip()
        try:
            query.filterable(resource, name, audience)
        except BadQuery as error:
            raise BadQuery("没有字段 {name}。", parameter="sortby", name=name[:60]) from error
        found.append(Sort(name, part.startswith("-")))
    if len(found) > query.SORTED_BY or len({one.field for one in found}) < len(found):
        raise BadQuery(parameter="sortby")
    return tuple(found)


def token(place: list[Any]) -> str:
    """A place in a list, for an address: the id, and before it the values that the list is sorted by, if any."""
    if len(place) == 1:
        return str(place[0])
    return base64.urlsafe_b64encode(json.dumps(place, ensure_ascii=False).encode()).decode().rstrip("=")


def _sound(text: Any) -> str:
    """What stood in an address, as text that PostgreSQL holds."""
    if not isinstance(text, str) or "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError
    return text


def _place(after: str | None, before: str | None, sort: tuple[Sort, ...], resource: Resource, audience: Audience) -> tuple[object, ...] | None:
    text, parameter = (after, "after") if after is not None else (before, "before")
    if text is None:
        return None
    try:
        if not sort:
            return (UUID(text),)
        *values, id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if len(values) != len(sort):
            raise ValueError
        fields = [query.filterable(resource, one.field, audience) for one in sort]
        return (*[None if value is None else query.parsed(field, _sound(value)) for field, value in zip(fields, values, strict=True)], UUID(id))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError, BadQuery) as error:
        raise BadQuery("翻页的位置不对:请用上一页给出的链接。", parameter=parameter) from error
