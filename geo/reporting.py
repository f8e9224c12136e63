"""Telling of something that ought to be seen to, by those who may not read back what they tell.

A report becomes an incident and a receipt: a ticket that may be known, and a code that only the reporter has. What
nobody ought to have written into it is taken out before it is stored, and named.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from psycopg.errors import NoDataFound

from geo import addresses, crs, secrets, write
from geo.addresses import Candidate, Found
from geo.catalog.incidents import CALLED_BACK, INCIDENTS
from geo.db import TIME_ZONE
from geo.door import new_code, spelled
from geo.errors import NotFound
from geo.keys import FieldKey
from geo.statements import document, run

TEXTS = ("title", "description", "address")
NOTICE = (
    "电话只用于就这件事联系您,加密保存,结案后 {days} 天删除;只有办理的人能看,每次查看都留痕。不留电话也可以上报。"
    "请不要写身份证号、别人的姓名和电话、病情等个人情况。"
)
KEPT_DAYS = CALLED_BACK.days

@dataclass(frozen=True)
class Report:
    """What somebody tells: texts, a kind of matter, a place in degrees of `datum`, a phone if they want to be called."""

    title: str
    matter: str | None = None
    description: str | None = None
    address: str | None = None
    lon: float | None = None
    lat: float | None = None
    datum: crs.Datum = crs.Datum.CGCS2000
    phone: str | None = None
    precision: str | None = None  # of a place that is a house, and no point that somebody stood at


@dataclass(frozen=True)
class Again:
    """By what a report is known that is sent twice: a secret of the device it comes from, and a key of this report.

    `said` is what it says, hashed with that secret.
    """

    device: str
    key: str
    said: bytes

    @property
    def actor(self) -> str:
        """Under what it is kept: the device is not told from what is stored."""
        return f"device:{hashlib.sha256(self.device.encode()).hexdigest()}"

    @property
    def code(self) -> str:
        """Of two answers to one report both have the same code, which is stored nowhere: it follows from what only the
        device knows."""
        made = hmac.digest(self.device.encode(), f"jingwei report {self.key}".encode(), hashlib.sha256)
        return base64.b32encode(made).decode()[:16]


@dataclass(frozen=True)
class Receipt:
    """What the reporter takes along. `left_out` says of each text what was taken out of it."""

    ticket: str
    code: str
    replayed: bool
    left_out: Mapping[str, tuple[str, ...]]


def report(connection: sa.Connection, told: Report, key: FieldKey, again: Again | None = None) -> Receipt:
    """Store a report as an incident where it is, with its receipt; whoever calls may be nobody in particular.

    Raises `Invalid` for a matter that is none, `Conflict` (rule `idempotency_key`) for another report under the same key.
    """
    texts, left_out = dict[str, str | None](), dict[str, tuple[str, ...]]()
    for name in TEXTS:
        given = getattr(told, name)
        texts[name], out = (None, ()) if given is None else secrets.redacted(given)
        if out:
            left_out[name] = out
    id = connection.scalar(sa.select(sa.func.uuid_v7()))
    assert isinstance(id, UUID)
    code = again.code if again else new_code()
    place, precision = placed(connection, told.lon, told.lat, told.datum, texts["address"], told.precision)
    phone = write.sealed(INCIDENTS, "reporter_phone", told.phone, key, id)
    values = {
        "id": id, "ticket": _ticket(), "code_hash": key.fingerprint(_about(code)), "matter": told.matter, "place": place, "precision": precision,
        "masked": phone["reporter_phone_masked"], "cipher": phone["reporter_phone_cipher"], "hash": phone["reporter_phone_hash"],
        "device": again.actor if again else None, "again": again.key if again else None, "said": again.said if again else None,
    }
    made = run(connection, "report", **texts, **values).one()
    return Receipt(made.given, code, made.replayed, left_out)


def placed(
    connection: sa.Connection, lon: float | None, lat: float | None, datum: crs.Datum, address: str | None, precision: str | None = "exact"
) -> tuple[str | None, str | None]:
    """Where something was seen, as EWKT, and how sure that is: at the position that was given, which has a `precision`, else where the
    address leads; neither where there is none."""
    if lon is not None and lat is not None:
        return crs.ewkt(*crs.point_to_storage(lon, lat, datum)), precision
    return addressed(connection, address) if address else (None, None)


def addressed(connection: sa.Connection, address: str) -> tuple[str | None, str | None]:
    """A point in the house or compound that an address leads to, and how far that is; neither for one that leads nowhere."""
    found = addresses.searched(connection, address)
    point = addresses.points(connection, [found]).get(found.building or found.compound or UUID(int=0)) if found.precision else None
    return (crs.ewkt(*point), found.precision) if point else (None, None)


def follow(connection: sa.Connection, ticket: str, code: str, key: FieldKey) -> dict[str, Any]:
    """How far a report has got. Raises `NotFound` for a ticket or a code that is not right: which, it does not say."""
    hashes = key.fingerprints(_about(spelled(code)))
    found = run(connection, "follow_report", ticket=ticket.strip().upper(), hashes=hashes).mappings().one_or_none()
    if found is None:
        raise NotFound("回执号或查询码不对。")
    return dict(found)


def told(connection: sa.Connection, ticket: str, code: str, key: FieldKey) -> dict[str, Any]:
    """How a report goes, for who has ticket and code: its stage and when it came to each, who is in charge, what was answered, and
    the `actions` that are theirs. Raises as `follow`."""
    found = run(connection, "report_told", ticket=ticket.strip().upper(), hashes=proofs(key, code)).mappings().one_or_none()
    if found is None:
        raise NotFound("回执号或查询码不对。")
    return dict(found)


def proofs(key: FieldKey, code: str) -> list[bytes]:
    """The fingerprints under which the receipt of a code may be kept."""
    return key.fingerprints(_about(spelled(code)))


def held(connection: sa.Connection, ticket: str, code: str, key: FieldKey) -> None:
    """`NotFound` unless ticket and code are those of a report of one's own."""
    if not run(connection, "report_held", ticket=ticket.strip().upper(), hashes=proofs(key, code)).scalar_one():
        raise NotFound("回执号或查询码不对。")


def near(connection: sa.Connection, matter: str, lon: float, lat: float, datum: crs.Datum = crs.Datum.CGCS2000) -> list[dict[str, Any]]:
    """What of the same matter has been reported within 100 m in the last fortnight and is not settled, at most three: `id`, `title`
    and `title_en` of the matter, `reported_at`, `stage`, `area`. Only of matters of things, whose places are no secret."""
    place = crs.ewkt(*crs.point_to_storage(lon, lat, datum))
    return [dict(row) for row in run(connection, "reports_near", matter=matter, place=place).mappings()]


def join(connection: sa.Connection, incident: UUID, key: FieldKey, again: Again | None = None) -> Receipt:
    """A receipt of one's own of a case that somebody else reported: it is told how that goes. Raises `NotFound`."""
    code, ticket = again.code if again else new_code(), _ticket()
    about = _about(code)
    try:
        given = run(
            connection, "report_joined", incident=incident, ticket=ticket, hash=key.fingerprint(about), hashes=key.fingerprints(about)
        ).scalar_one()
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, NoDataFound):
            raise NotFound("那件事已经办结,请重新上报。") from error
        raise
    return Receipt(given, code, given != ticket, {})


@dataclass(frozen=True)
class Spot:
    """A place that everybody may know: a house, a stairwell of one or a compound, with a point inside it in degrees."""

    title: str
    lon: float
    lat: float
    area: str
    building: UUID | None = None
    unit: UUID | None = None


def preset(connection: sa.Connection, building: UUID | None = None, unit: UUID | None = None) -> Spot:
    """Where a house or a stairwell is, as a printed code names it. Raises `NotFound`."""
    row = run(connection, "preset_place", building=building, unit=unit).one_or_none()
    if row is None or (building is None and unit is None):
        raise NotFound("没有这个地方,可能已拆除或改号。请直接写地址。")
    return Spot(row.title, row.lon, row.lat, row.area or "", row.building, row.unit)


def spots(connection: sa.Connection, address: str) -> tuple[Spot | None, list[Spot]]:
    """What an address means to the caller, to the public no further than the house; else what it may mean, best first."""
    found = addresses.searched(connection, address)
    told: list[Found | Candidate] = [*([found] if found.precision else []), *found.candidates]
    points, areas = addresses.points(connection, told), addresses.areas(connection, told)
    seen: dict[tuple[float, float], Spot] = {}
    for one in told:
        if point := points.get(one.building or one.compound or UUID(int=0)):
            seen.setdefault(point, Spot(one.title, *point, areas.get(one.scope) or "", one.building))
    first = next(iter(seen.values()), None) if found.precision else None
    return first, [spot for spot in seen.values() if spot is not first][:5]


def matters(connection: sa.Connection) -> list[dict[str, Any]]:
    """What may be reported: `code`, `title`, `title_en` and `parent` of classes and their matters."""
    return [dict(row) for row in run(connection, "matters_told").mappings()]


def stuck(connection: sa.Connection, within: str, most: int = 500) -> list[dict[str, Any]]:
    """The houses and stairwells of an area, of whose codes a sheet is printed: `building`, `house`, `unit`, `stairwell`, `compound`."""
    return [dict(row) for row in run(connection, "houses_stuck", within=within, most=most).mappings()]


def move(
    connection: sa.Connection, ticket: str, code: str, key: FieldKey, action: str, opinion: str = "", rating: int | None = None
) -> dict[str, Any]:
    """A step by who reported it: where the case stands now. Raises as `follow`, and `Conflict` for a step that there is not from there."""
    given = {"opinion": secrets.redacted(opinion)[0]} | ({} if rating is None else {"rating": rating})
    hashes = key.fingerprints(_about(spelled(code)))
    try:
        made = run(
            connection, "move_report", ticket=ticket.strip().upper(), hashes=hashes, action=action, given=document(given), moment=None,
        ).mappings().one()
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, NoDataFound):
            raise NotFound("回执号或查询码不对。") from error
        raise
    return dict(made)


def _ticket() -> str:
    # Told to everybody as the number of the incident: it need not be guessed, and gives nothing.
    return f"R{datetime.now(ZoneInfo(TIME_ZONE)):%y%m%d}-{new_code()[:6]}"


def _about(code: str) -> str:
    # A code of a request about one's data is no code of a report.
    return f"report {code}"
