"""What sensors measure, and what becomes a case of it: things and their streams of data, and rules that say from which value on, for how long.

Of water, smoke, manhole covers: never of people. What could tell somebody by a device, a plate or a face is refused, and of numbers only the
last of each stream is kept. A rule makes one case at a time, however often it is told.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import crs, secrets
from geo.errors import Invalid
from geo.statements import document, run

MOST = 1_000  # observations of a message
AHEAD = timedelta(minutes=5)  # of our clock, that theirs may be

# By what people or what they carry are told apart (PIPL 28): names of properties, and shapes of values under whatever name.
NAMES = re.compile(
    r"(?:^|[^a-z])(?:mac|bssid|ssid|imei|imsi|iccid|msisdn|idfa|oaid|plate|licen[cs]e|face|facial|fingerprint|biometric|person|phone|mobile|idcard|openid"
    r"|photo|image|picture|video|audio|voice)(?:[^a-z]|$)|车牌|号牌|人脸|面部|指纹|声纹|虹膜|手机|电话|身份证|姓名|照片|图像|视频|录音|嗅探|网卡",
    re.I,
)
WORD = re.compile("(?<=[a-z])(?=[A-Z])")
VALUES = re.compile(
    r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f])|(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}(?![0-9A-Fa-f])"
    r"|(?<!\d)\d{15,19}(?!\d)|(?<!\d)(?:\+?86)?1[3-9]\d{9}(?!\d)"
    r"|[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领][A-HJ-NP-Z][·. ]?[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳]|data:(?:image|video|audio)/"
)


@dataclass(frozen=True)
class Observation:
    """A number of a stream at a moment."""

    datastream: str
    result: float
    at: datetime


@dataclass(frozen=True)
class Stream:
    """What a thing measures."""

    code: str
    title: str
    unit: str = ""


@dataclass(frozen=True)
class Thing:
    """Where something measures, in degrees of `datum`, and who may send it: the login of a system, or anybody who may deliver."""

    code: str
    title: str
    lon: float
    lat: float
    datum: crs.Datum = crs.Datum.CGCS2000
    login: str | None = None
    streams: tuple[Stream, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A case `title` of a matter when a stream is above or below so much for so long (seconds); over when it has come `back` by so much.
    No second one while it is open, nor within `once_in` seconds."""

    title: str
    matter: str
    above: float | None = None
    below: float | None = None
    back: float = 0.0
    lasting: float = 0.0
    once_in: float = 86_400.0
    urgent: bool = False


def impersonal(told: object, name: str = "") -> None:
    """`Invalid` (rule `identifying`) for what could tell a person, by its name or by its shape, however deep it lies."""
    if NAMES.search(WORD.sub("_", name)):
        raise Invalid("不收能认出人的内容(设备号、车牌、人脸、电话等):{field}。", field=name[:40], rule="identifying")
    if isinstance(told, Mapping):
        for key, value in told.items():
            impersonal(value, str(key))
    elif isinstance(told, Sequence) and not isinstance(told, str):
        for value in told:
            impersonal(value)
    elif isinstance(told, (str, int)) and not isinstance(told, bool) and (VALUES.search(str(told)) or secrets.refused(str(told))):
        raise Invalid("不收能认出人的内容(设备号、车牌、人脸、电话等):{field}。", field=name[:40] or "result", rule="identifying")


def take(connection: sa.Connection, observations: Sequence[Observation]) -> dict[str, Any]:
    """What came of observations: how many were `taken` and how many `late` (not newer than the last of their stream), and of each rule that
    they met `rule`, `incident`, `number`, `made` (whether it was not there before) and `attached`, the observations that came to it since.

    Raises `Forbidden` for who may not send them, `NotFound` for a stream that there is not.
    """
    if len(observations) > MOST:
        raise Invalid("一次最多 {most} 条观测。", most=MOST)
    if any(one.at > datetime.now(UTC) + AHEAD for one in observations):
        raise Invalid("phenomenonTime 在将来,请校准设备的时钟。", field="phenomenonTime")
    given = [{"datastream": one.datastream, "result": one.result, "at": one.at.isoformat()} for one in observations]
    told: dict[str, Any] = run(connection, "observations_take", given=document(given)).scalar_one()
    return told


def register(connection: sa.Connection, thing: Thing) -> None:
    """Add a thing with its streams, or change it: streams that it names no longer are over. Raises `Forbidden` outside one's own areas."""
    impersonal([thing.code, thing.title, *(part for stream in thing.streams for part in (stream.code, stream.title, stream.unit))])
    for text in (thing.title, *(stream.title for stream in thing.streams)):
        if NAMES.search(text):
            raise Invalid("不登记采集个人的设备:{field}。", field=text[:40], rule="identifying")
    streams = [{"code": s.code, "title": s.title, "unit": s.unit} for s in thing.streams]
    place = crs.ewkt(*crs.point_to_storage(thing.lon, thing.lat, thing.datum))
    run(connection, "thing_register", code=thing.code, title=thing.title, place=place, login=thing.login, streams=document(streams))


def retire(connection: sa.Connection, code: str) -> None:
    """Take a thing out of use. Raises `NotFound`."""
    run(connection, "thing_retire", code=code)


def rule(connection: sa.Connection, datastream: str, wanted: Rule) -> UUID:
    """Have a rule from now on. Raises `NotFound`, `Forbidden`, `Invalid`."""
    id: UUID = run(
        connection, "observation_rule", datastream=datastream, title=wanted.title, matter=wanted.matter, above=wanted.above, below=wanted.below,
        back=wanted.back, lasting=wanted.lasting, once_in=wanted.once_in, urgent=wanted.urgent,
    ).scalar_one()  # fmt: skip
    return id


def end(connection: sa.Connection, id: UUID) -> None:
    """Have a rule no longer. Raises `NotFound`."""
    run(connection, "observation_rule_end", id=id)


def told(connection: sa.Connection) -> list[dict[str, Any]]:
    """The things of the caller's areas, or that the caller sends for, with `streams` and the `rules` of each."""
    return [dict(row) for row in run(connection, "things_told").mappings()]
