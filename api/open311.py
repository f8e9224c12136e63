"""Open311 GeoReport v2 under `/open311/v2`: the programs of others report and follow, in XML and JSON.

Nobody is told more than the public is. An `api_key` is one of our tokens: it gives whoever reports for many a limit of their own,
and knows what it sent before; without one, anybody reports as on the public page.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID
from xml.etree.ElementTree import Element, SubElement, tostring

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from api import models, reporting
from api.deps import HEAVILY, Key, LanguageNow, PublicConnection, anyone, presence, strict
from api.limits import limited
from api.settings import settings
from geo import open311
from geo import reporting as reports
from geo.catalog.workflow import STATES
from geo.crs import Datum
from geo.door import Presence
from geo.errors import Forbidden, GeoError, Invalid, NotFound, Unauthorised
from geo.language import Language, preferred, translated
from geo.open311 import CLOSED, MOST, OPEN, Service, Wanted
from geo.reporting import Again, Report

Format = Annotated[Literal["xml", "json"], Path()]
KINDS = {"xml": "text/xml; charset=utf-8", "json": "application/json; charset=utf-8"}
# What the list of a thing is called, and each of its elements.
EACH = {
    "services": "service", "service_requests": "request", "service_request_updates": "request_update", "errors": "error", "attributes": "attribute",
    "values": "value", "endpoints": "endpoint", "formats": "format",
}  # fmt: skip
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LINK = re.compile(r"https?://[^\s<>\"]{3,980}")
ATTRIBUTE = re.compile(r"attribute\[([A-Za-z0-9_.-]{1,40})\](?:\[\])?")
EXTERNAL = "external_id"
CHANGED = "2026-11-25T00:00:00+08:00"  # of what is told here, and how


class Told(APIRoute):
    """A route whose refusals are in the words of the standard, and whose key may be a field of the form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the framework between both."""
        answered = super().get_route_handler()

        async def handled(request: Request) -> Response:
            request.scope["refusal"] = _refusal
            if request.method == "POST":
                await _keyed(request)
            return await answered(request)

        return handled


TOLD: dict[str, Any] = {"content": {"text/xml": {}, "application/json": {}}, "description": "As GeoReport v2 has it"}
routes = APIRouter(
    prefix="/open311/v2", tags=["open311"], route_class=Told, responses=dict.fromkeys((200, 400, 403, 404, 429, 503), TOLD)
)
JURISDICTION = ("jurisdiction_id", "api_key")


async def _keyed(request: Request) -> None:
    """A form's `api_key` is taken for a token in the header, which it is one of."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Invalid("请用 application/x-www-form-urlencoded 发送。", field="content-type")
    try:
        pairs = parse_qsl((await request.body()).decode(), max_num_fields=200, errors="strict")
    except ValueError as error:
        raise Invalid("请求须用 UTF-8,最多 200 个字段。") from error
    request.state.form = pairs
    key = dict(pairs).get("api_key", "")
    if key and not key.isascii():
        raise Forbidden("api_key 不对:无效、已过期或已作废。")
    kept = [(name, value) for name, value in request.scope["headers"] if name not in (b"authorization", b"cookie")]
    # A program proves itself by its key alone: a browser's cookie is nothing to it.
    request.scope["headers"] = [*kept, *([(b"authorization", f"Bearer {key}".encode())] if key else [])]
    request.__dict__.pop("_headers", None)
    request.__dict__.pop("_cookies", None)


def _refusal(request: Request, error: GeoError, status: int) -> Response:
    """What `api.errors` answers in place of a problem document."""
    if isinstance(error, Unauthorised):
        error, status = Forbidden("api_key 不对:无效、已过期或已作废。"), 403
    elif status not in (403, 404, 429, 500, 503):
        status = 400
    said = error.said(partial(translated, language=preferred(request.headers.get("accept-language"))))
    return _answer(_format(request), "errors", [{"code": str(status), "description": said}], status)


def _format(request: Request) -> str:
    return "json" if request.url.path.endswith(".json") else "xml"


def _answer(fmt: str, root: str, told: Any, status: int = 200) -> Response:
    text = _xml(root, told) if fmt == "xml" else json.dumps(told, ensure_ascii=False).encode()
    return Response(text, status, {"Cache-Control": "no-store"}, KINDS[fmt])


def _xml(root: str, told: Any) -> bytes:
    top = Element(root)
    _fill(top, root, told)
    return bytes(tostring(top, encoding="UTF-8", xml_declaration=True))


def _fill(node: Element, name: str, told: Any) -> None:
    if isinstance(told, list):
        for one in told:
            _fill(SubElement(node, EACH[name]), EACH[name], one)
    elif isinstance(told, Mapping):
        for key, value in told.items():
            _fill(SubElement(node, key), key, value)
    elif told is not None:
        node.text = ("true" if told else "false") if isinstance(told, bool) else UNWRITABLE.sub("", str(told))


def _here(request: Request, jurisdiction: str) -> None:
    """There is one jurisdiction: by its code or the name of this host. Raises `NotFound` for any other."""
    if jurisdiction not in ("", request.app.state.instance.prefix, urlsplit(settings().own_url).hostname):
        raise NotFound("没有这个辖区:请看 discovery 里的 jurisdiction_id。")


def here(request: Request, jurisdiction_id: Annotated[str, Query(max_length=100)] = "") -> None:
    """What every question may name."""
    _here(request, jurisdiction_id)


HERE = Depends(here)


def _moment(text: str | None, field: str) -> datetime | None:
    if not text:
        return None
    try:
        # A plus sign that nobody escaped comes as a space.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise Invalid("{field} 须是带时区的 W3C 时间,例如 2026-01-01T00:00:00+08:00。", field=field) from error
    return found if found.tzinfo else found.replace(tzinfo=models.LOCAL)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())[:200]


def _said(moment: datetime | None) -> str | None:
    return moment.astimezone(models.LOCAL).isoformat(timespec="seconds") if moment else None


@routes.get("/discovery.{fmt}", summary="What this endpoint is", dependencies=[strict(*JURISDICTION), HERE, Depends(anyone)])
def discovery(fmt: Format, request: Request) -> Response:
    """As the discovery of Open311 has it."""
    endpoint = {
        "specification": "http://wiki.open311.org/GeoReport_v2", "url": f"{settings().own_url}/open311/v2", "changeset": CHANGED, "type": "production",
        "formats": ["text/xml", "application/json"],
    }
    told = {
        "changeset": CHANGED, "contact": request.app.state.instance.name, "key_service": f"{settings().own_url}/account", "endpoints": [endpoint],
    }  # fmt: skip
    return _answer(fmt, "discovery", told)


@routes.get("/services.{fmt}", summary="What may be reported", dependencies=[strict(*JURISDICTION), HERE])
def services(fmt: Format, connection: PublicConnection, language: LanguageNow) -> Response:
    """Each kind of matter."""
    return _answer(fmt, "services", [_service(one, language) for one in open311.services(connection)])


def _service(one: Service, language: Language) -> dict[str, Any]:
    title, group = (one.title_en, one.group_en) if language == "en" else (one.title, one.group)
    return {
        "service_code": one.code, "service_name": title, "description": title, "metadata": True, "type": "realtime", "keywords": "", "group": group,
    }  # fmt: skip


@routes.get("/services/{code}.{fmt}", summary="What is asked of whoever reports this", dependencies=[strict(*JURISDICTION), HERE])
def definition(
    code: Annotated[str, Path(pattern="^[0-9A-Za-z_]{1,40}$")], fmt: Format, connection: PublicConnection, language: LanguageNow
) -> Response:
    """One attribute, the same of every service: the number that a report has where it comes from."""
    about = "您系统里的编号。带 api_key 再发一次同样的编号,是同一件,不会重复。"
    attribute = {
        "variable": True, "code": EXTERNAL, "datatype": "string", "required": False, "datatype_description": "", "order": 1,
        "description": translated(about, language), "values": [],
    }  # fmt: skip
    return _answer(fmt, "service_definition", {"service_code": open311.service(connection, code).code, "attributes": [attribute]})


@routes.get(
    "/requests.{fmt}", summary="What was reported",
    dependencies=[
        limited("costly"), HEAVILY,
        strict(*JURISDICTION, "service_request_id", "service_code", "start_date", "end_date", "status", "page", "page_size", "extensions"), HERE,
    ],
)  # fmt: skip
def requests(
    fmt: Format, connection: PublicConnection, language: LanguageNow, service_request_id: Annotated[str | None, Query(max_length=10_000)] = None,
    service_code: Annotated[str | None, Query(max_length=2_000)] = None, start_date: str | None = None, end_date: str | None = None,
    status: str | None = None, page: Annotated[int, Query(ge=1, le=10_000)] = 1, page_size: Annotated[int, Query(ge=1)] = MOST,
) -> Response:
    """By their ids, and then by nothing else; or of at most 90 days, the last of them where nothing is said. At most 1,000 a page."""
    numbers, wanted = _listed(service_request_id), set(_listed(status))
    if unknown := wanted - {OPEN, CLOSED}:
        raise Invalid("status 只有 open 和 closed。", field="status", given=sorted(unknown))
    since, until = (None, None) if numbers else open311.span(_moment(start_date, "start_date"), _moment(end_date, "end_date"), datetime.now(UTC))
    told = open311.requests(
        connection,
        Wanted(numbers, _listed(service_code), since, until, next(iter(wanted)) if len(wanted) == 1 else "", page, min(page_size, MOST)),
    )
    return _answer(fmt, "service_requests", [_request(one, language) for one in told])


@routes.get("/requests/{id}.{fmt}", summary="One request", dependencies=[strict(*JURISDICTION, "extensions"), HERE])
def request_of(
    id: Annotated[str, Path(pattern="^[^/,]{1,40}$")], fmt: Format, connection: PublicConnection, language: LanguageNow
) -> Response:
    """A list of one, as the standard has it."""
    return _answer(fmt, "service_requests", [_request(one, language) for one in _known(connection, id)])


@routes.get("/tokens/{token}.{fmt}", summary="The id of a request", dependencies=[strict(*JURISDICTION), HERE])
def token(token: Annotated[str, Path(pattern="^[^/,]{1,40}$")], fmt: Format, connection: PublicConnection) -> Response:
    """Ids are given at once, so a token is the id itself."""
    return _answer(fmt, "service_requests", [{"service_request_id": one["number"], "token": token} for one in _known(connection, token)])


@routes.get(
    "/servicerequestupdates.{fmt}", summary="How requests went on", dependencies=[limited("costly"), HEAVILY, strict(*JURISDICTION, "start_date", "end_date"), HERE]
)
def updates(fmt: Format, connection: PublicConnection, language: LanguageNow, start_date: str | None = None, end_date: str | None = None) -> Response:
    """FixMyStreet's extension: each step since, the first one first, at most 1,000."""
    since, until = open311.span(_moment(start_date, "start_date"), _moment(end_date, "end_date"), datetime.now(UTC))
    told = [
        {
            "update_id": one["update"], "service_request_id": one["number"], "status": CLOSED if one["closed"] else OPEN, "updated_datetime": _said(one["at"]),
            "description": translated(STATES[one["state"]].title, language), "media_url": None,
        }
        for one in open311.updates(connection, since, until)
    ]  # fmt: skip
    return _answer(fmt, "service_request_updates", told)


def _known(connection: PublicConnection, number: str) -> list[dict[str, Any]]:
    found = open311.requests(connection, Wanted((number,), size=1))
    if not found:
        raise NotFound("没有这个请求:service_request_id {code}。", code=number)
    return found


def _request(one: Mapping[str, Any], language: Language) -> dict[str, Any]:
    return {
        "service_request_id": one["number"], "status": CLOSED if one["closed"] else OPEN, "status_notes": translated(STATES[one["state"]].title, language),
        "service_name": one["service_en"] if language == "en" and one["service_en"] else one["service"], "service_code": one["matter"],
        "description": one["title"], "agency_responsible": one["agency"], "service_notice": None,
        "requested_datetime": _said(one["reported_at"]), "updated_datetime": _said(one["updated_at"]), "expected_datetime": _said(one["due_at"]),
        "address": one["area"], "address_id": None, "zipcode": None, "lat": one["lat"], "long": one["lon"],
        "media_url": f"{settings().own_url}/photos/{one['photo']}" if one["photo"] else None,
    }  # fmt: skip


@routes.post("/requests.{fmt}", status_code=201, summary="Report something", responses={201: TOLD}, dependencies=[limited("public_write"), strict()])
def report(
    fmt: Format, request: Request, connection: PublicConnection, key: Key, language: LanguageNow, here: Annotated[Presence, Depends(presence)]
) -> Response:
    """A form. The answer has the ticket for its id, and in its notice the code with which whoever reported follows it here. Names and
    e-mail addresses are not kept; a phone only of a program with a key, whose people were told what it is for."""
    form = dict(request.state.form)
    _here(request, form.get("jurisdiction_id", ""))
    if not form.get("service_code"):
        raise Invalid("没有给出 service_code。", field="service_code")
    service = open311.service(connection, form["service_code"])
    attributes = {found[1]: value.strip() for name, value in request.state.form if (found := ATTRIBUTE.fullmatch(name))}
    keyed = here.caller.account is not None
    told = _told(connection, form, service, keyed)
    near = [] if told.lon is None or told.lat is None else reports.near(connection, service.code, told.lon, told.lat, told.datum)
    made = reports.report(connection, told, key, _again(form, attributes.get(EXTERNAL, "")) if keyed else None)
    sentence = "查询码 {code}:凭编号和查询码在 {link} 查看办理情况。"
    notice = translated(sentence, language).format(code=made.code, link=f"{settings().own_url}/report/follow")
    if near and not made.replayed:
        notice += translated("附近两周内已有 {count} 件同样的事。", language).format(count=len(near))
    answer = [{"service_request_id": made.ticket, "service_notice": notice, "account_id": form.get("account_id", "")[:100] or None}]
    return _answer(fmt, "service_requests", answer, 201)


def _told(connection: PublicConnection, form: Mapping[str, str], service: Service, keyed: bool) -> Report:
    words, media = form.get("description", "").strip(), form.get("media_url", "").strip()
    if media and not LINK.fullmatch(media):
        raise Invalid("media_url 须是一个 http 或 https 网址。", field="media_url")
    # The picture itself is not fetched: what a stranger names may lie inside these walls. Whoever handles it may look.
    words = "\n".join(filter(None, (words, media)))
    place: dict[str, object] = {"address": form.get("address_string", "").strip() or None}
    precision = None
    if form.get("lat") or form.get("long"):
        place |= {"lat": form.get("lat"), "lon": form.get("long"), "datum": Datum.WGS84}
    elif form.get("address_id"):
        try:
            spot = reports.preset(connection, building=UUID(form["address_id"]))
        except (ValueError, NotFound) as error:
            raise NotFound("没有这个地址:address_id {code}。", code=form["address_id"][:40]) from error
        place |= {"lat": spot.lat, "lon": spot.lon, "datum": Datum.CGCS2000, "address": spot.title}
        precision = "building"
    elif not place["address"]:
        raise Invalid("请给出 lat 和 long、address_string 或 address_id 之一。", field="lat")
    try:
        new = reporting.New.model_validate(
            place | {
                "title": words[:200] or service.title, "description": words[200:] or None, "matter": service.code,
                "phone": (form.get("phone") or None) if keyed else None, "notice": keyed,
            }
        )  # fmt: skip
    except ValidationError as error:
        wrong = {"lon": "long", "title": "description", "address": "address_string"}
        field = str(error.errors()[0]["loc"][0])
        raise Invalid("参数 {field} 有误。", field=wrong.get(field, field)) from error
    if (new.lon is None) != (new.lat is None):
        raise Invalid("lat 和 long 要一起给。", field="lat" if new.lat is None else "long")
    return Report(**new.model_dump(exclude={"notice"}), precision=precision)


def _again(form: Mapping[str, str], external: str) -> Again | None:
    """By what a report is known that a program sends twice: its key, and its own number."""
    if not external:
        return None
    said = json.dumps(sorted((name, value) for name, value in form.items() if name != "api_key")).encode()
    return Again(form["api_key"], external[:200], hmac.digest(form["api_key"].encode(), said, hashlib.sha256))
