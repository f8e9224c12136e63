"""`jingwei open311`: fetch what was reported to another Open311 server, and tell it how that goes. To be run by a timer."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import httpx2
import typer
from rich.console import Console

from api.cli_account import owner
from api.settings import settings
from geo import foreign_requests
from geo.errors import Invalid, NotFound, Unavailable
from geo.foreign_requests import Request
from geo.terminal import said

app = typer.Typer(no_args_is_help=True, help="Open311: requests of another server.")
console = Console(highlight=False)

BYTES = 20_000_000  # of an answer
PATIENCE_SECONDS = 30.0
AGAIN = timedelta(days=2)  # asked for once more, in case the last time failed: what is known is known


@app.command()
def exchange(days: Annotated[int, typer.Option(min=1, max=89, help="how far back to ask")] = AGAIN.days) -> None:
    """Take in what is open there and unknown here; tell of what has moved on here. Exit status 1 when something was not taken there."""
    endpoint = settings().open311_endpoint.rstrip("/")
    if not endpoint:
        raise NotFound("没有设置另一台 Open311 服务器(JINGWEI_OPEN311_ENDPOINT)。")
    with httpx2.Client(timeout=PATIENCE_SECONDS, follow_redirects=False, trust_env=False) as client:
        made = fetched(client, endpoint, timedelta(days=days))
        told, refused = told_back(client, endpoint)
    console.print(said("新增 {made} 件,告知对方 {told} 件,{refused} 件没有告知成", made=made, told=told, refused=refused), markup=False)
    raise typer.Exit(bool(refused))


def fetched(client: httpx2.Client, endpoint: str, back: timedelta) -> int:
    """Take in what is open on the other server. Returns how many cases were made: each is committed by itself, once."""
    now = datetime.now(UTC)
    asked = {"status": "open", "start_date": (now - back).isoformat(timespec="seconds"), "end_date": (now + timedelta(minutes=5)).isoformat(timespec="seconds")}
    root = read(_asked(client, "GET", f"{endpoint}/requests.xml", params=_who() | asked))
    made = 0
    for node in root.iterfind("request"):
        if request := understood(node):
            with owner() as connection:
                made += foreign_requests.take(connection, endpoint, request)[1]
    return made


def told_back(client: httpx2.Client, endpoint: str) -> tuple[int, int]:
    """Tell the other server where its requests stand. Returns how many were taken, and how many were not."""
    with owner() as connection:
        waiting = foreign_requests.untold(connection, endpoint)
    refused = 0
    for one in waiting:
        form = _who() | {
            "api_key": _key(), "service_request_id": one["number"], "update_id": f"{one['number']}-{one['steps']}",
            "updated_datetime": one["at"].isoformat(timespec="seconds"), "status": "CLOSED" if one["closed"] else "OPEN", "description": one["title"],
        }
        refusal = ""
        try:
            _asked(client, "POST", f"{endpoint}/servicerequestupdates.xml", data=form)
        except Unavailable as error:
            refusal = str(error)
            refused += 1
        with owner() as connection:
            foreign_requests.told(connection, endpoint, one["number"], one["steps"], refusal)
    return len(waiting) - refused, refused


def read(content: bytes) -> Element:
    """XML as a tree. Raises `Invalid` for what is none, and for any that declares types or entities of its own: a few lines of it may
    unfold to gigabytes, or read a file of ours."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def declared(*_: object) -> None:
        raise Invalid("对方的 XML 带有文档类型声明,没有读。")

    parser.StartDoctypeDeclHandler = declared
    parser.StartElementHandler = lambda name, attributes: builder.start(name, attributes)
    parser.EndElementHandler = lambda name: builder.end(name)
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
        return builder.close()
    except expat.ExpatError as error:
        raise Invalid("对方的回答不是 XML。") from error


def understood(node: Element) -> Request | None:
    """A request, or None for one that has no number."""
    told = {child.tag: (child.text or "").strip() for child in node}
    number = told.get("service_request_id", "")
    if not 0 < len(number) <= 200:
        return None
    try:
        lon, lat = float(told.get("long", "")), float(told.get("lat", ""))
        place: dict[str, Any] = {"lon": lon, "lat": lat} if -180 <= lon <= 180 and -90 <= lat <= 90 else {}
    except ValueError:
        place = {}
    try:
        moment = datetime.fromisoformat(told.get("requested_datetime", ""))
    except ValueError:
        moment = None
    at = moment if moment and moment.tzinfo else None
    return Request(number, told.get("service_code", ""), told.get("service_name", ""), told.get("description", ""), told.get("address", ""), **place, at=at)


def _asked(client: httpx2.Client, method: str, url: str, **more: Any) -> bytes:
    try:
        with client.stream(method, url, **more) as answer:
            if not 200 <= answer.status_code < 300:
                raise Unavailable("另一台 Open311 服务器回答 {status}。", status=answer.status_code)
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > BYTES:
                    raise Unavailable("另一台 Open311 服务器的回答太大。")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable("另一台 Open311 服务器连不上:{reason}。", reason=type(error).__name__) from error
    return bytes(content)


def _who() -> dict[str, str]:
    return {"jurisdiction_id": settings().open311_jurisdiction} if settings().open311_jurisdiction else {}


def _key() -> str:
    file = settings().open311_key_file
    return file.read_text(encoding="utf-8").strip() if file else ""
