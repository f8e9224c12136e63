"""`POST /reports`: telling of something, as anybody; ticket and code come back, and nothing else can be read by it."""

import hashlib
import hmac
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api import models
from api.collections import PROBLEM, IdempotencyKey
from api.deps import CallerNow, Connection, Key, LanguageNow, PublicConnection, anyone, strict
from api.limits import guessed, limited
from geo import reporting
from geo.catalog.workflow import STAGES
from geo.crs import Datum
from geo.errors import BadQuery, Invalid
from geo.language import translated
from geo.reporting import Again, Report

PRIVATE = {"Cache-Control": "no-store"}
STAGE_TITLES = {stage.code: stage.title for stage in STAGES}

routes = APIRouter(tags=["reports"], responses=dict.fromkeys((400, 404, 409, 422, 429, 503), PROBLEM))


class New(BaseModel):
    """What is to be seen to. Whoever wants to be called leaves a number, having read `GET /reports/notice`."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[models.Text, Field(min_length=1, max_length=200)]
    matter: Annotated[models.Text, Field(max_length=40)] | None = None
    description: Annotated[models.Text, Field(max_length=3799)] | None = None  # a resident's title goes before it
    address: Annotated[models.Text, Field(max_length=256)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    datum: Datum = Datum.CGCS2000
    phone: Annotated[models.Text, Field(max_length=40, pattern=r"^[0-9+() -]{5,40}$")] | None = None
    notice: Annotated[bool, Field(strict=True, description="whether the notice was read; asked for with a phone")] = False


@routes.get("/reports/notice", summary="What who reports is told before", dependencies=[strict(), Depends(anyone)])
def notice(language: LanguageNow) -> dict[str, str]:
    """What a phone number is used for and how long it is kept, to be shown where one is asked for."""
    return {"notice": translated(reporting.NOTICE, language).format(days=reporting.KEPT_DAYS)}


@routes.post("/reports", status_code=201, summary="Report something", dependencies=[limited("public_write"), strict()])
def report(
    new: New, answer: Response, connection: Connection, who: CallerNow, key: Key, language: LanguageNow,
    idempotency_key: IdempotencyKey = None,
    device_key: Annotated[str | None, Header(min_length=16, max_length=200, description="a random text that this device keeps to itself")] = None,
) -> dict[str, Any]:
    """Becomes an incident where it is. Sent twice with one `Idempotency-Key` and `Device-Key` it is one report, and both
    answers are the same. What a resident writes is read by workers, and everybody else is told what kind of matter it is, until a
    worker has given it a title. What nobody should have written into it is left out, and named in `left_out`."""
    if new.phone and not new.notice:
        raise Invalid("留电话须先看过告知(GET /reports/notice),并写明 notice: true。", field="notice")
    if (new.lon is None) != (new.lat is None):
        raise Invalid("经度和纬度要一起给。", field="lat" if new.lat is None else "lon")
    if idempotency_key and not device_key:
        raise BadQuery("幂等键要和设备自己的 Device-Key 一起给。", parameter="Device-Key")
    told = Report(**new.model_dump(exclude={"notice"}))
    made = reporting.report(connection, told, key, again(new, idempotency_key, device_key))
    answer.headers.update(PRIVATE | {"Location": f"/reports/{made.ticket}"} | ({"Idempotency-Replayed": "true"} if made.replayed else {}))
    left_out = {field: [translated(what, language) for what in out] for field, out in made.left_out.items()}
    return {"ticket": made.ticket, "code": made.code, "left_out": left_out}


@routes.get("/reports/near", summary="What is reported already near a place", dependencies=[limited("costly"), strict("matter", "lon", "lat", "datum")])
def near(
    answer: Response, connection: PublicConnection, language: LanguageNow, matter: Annotated[str, Query(pattern="^[0-9A-Za-z_]{1,40}$")],
    lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)], lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
    datum: Datum = Datum.CGCS2000,
) -> dict[str, Any]:
    """Of the same matter, within 100 m, of the last fortnight and not settled; at most three. Of matters that are about people and
    not about things there is never one: where somebody quarrels is told to nobody."""
    answer.headers.update(PRIVATE)
    return {"reports": [known(one, language) for one in reporting.near(connection, matter, lon, lat, datum)]}


def known(one: dict[str, Any], language: str) -> dict[str, Any]:
    """A case as those are told of it who may have met the same."""
    title = one["title_en"] if language == "en" and one["title_en"] else one["title"]
    return {
        "incident": str(one["id"]), "title": title, "area": one["area"], "reported_on": one["reported_at"].date().isoformat(),
        "stage": one["stage"], "stage_title": translated(STAGE_TITLES.get(one["stage"], ""), language),
    }


@routes.post("/incidents/{id}/receipts", status_code=201, summary="Follow a case that others reported", dependencies=[limited("public_write"), strict()])
def join(
    id: UUID, answer: Response, connection: PublicConnection, key: Key, idempotency_key: IdempotencyKey = None,
    device_key: Annotated[str | None, Header(min_length=16, max_length=200, description="a random text that this device keeps to itself")] = None,
) -> dict[str, Any]:
    """A ticket and code of your own for a case that is open: they tell how it goes, and nothing else can be done with them."""
    if idempotency_key and not device_key:
        raise BadQuery("幂等键要和设备自己的 Device-Key 一起给。", parameter="Device-Key")
    told_before = Again(device_key, idempotency_key, b"") if idempotency_key and device_key else None
    made = reporting.join(connection, id, key, told_before)
    answer.headers.update(PRIVATE | {"Location": f"/reports/{made.ticket}"} | ({"Idempotency-Replayed": "true"} if made.replayed else {}))
    return {"ticket": made.ticket, "code": made.code}


@routes.get("/reports/{ticket}", summary="How far a report has got", dependencies=[guessed("slip"), strict()])
def follow(
    ticket: Annotated[str, Path(pattern="^[0-9A-Za-z-]{1,40}$")], answer: Response, connection: PublicConnection, key: Key,
    report_code: Annotated[str, Header(min_length=1, max_length=40, description="the code that came with the ticket")],
) -> dict[str, Any]:
    """To whoever has ticket and code. The code is a header, because addresses end up in logs."""
    answer.headers.update(PRIVATE)
    return reporting.follow(connection, ticket, report_code, key)


def again(new: New, idempotency_key: str | None, device_key: str | None) -> Again | None:
    """By what a report is known that is sent twice; None where nothing was given to know it by."""
    if not idempotency_key or not device_key:
        return None
    # Keyed: a bare hash of a phone number and three words can be found by trying.
    return Again(device_key, idempotency_key, hmac.digest(device_key.encode(), new.model_dump_json().encode(), hashlib.sha256))
