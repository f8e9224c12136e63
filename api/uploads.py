"""`/uploads`: files on their way in. Sent, read, looked at, written, taken back; each step is the worker's, and each can be asked after."""

import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal
from uuid import UUID, uuid4
from zipfile import ZipFile

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api import deps, models, upload_pages
from api.collections import PROBLEM
from api.deps import CallerNow, Connection, Home, Key, LanguageNow, able, strict
from api.limits import limited
from api.multipart import Parts
from api.pages import wants_html
from api.settings import settings
from api.ways import see
from geo import uploading, vault
from geo.errors import Invalid, TooLarge
from geo.language import translated
from geo.layers import Kind, Seer
from geo.uploading import Upload

routes = APIRouter(tags=["uploads"], responses=dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 429, 503), PROBLEM))

PRIVATE = {"Cache-Control": "private, no-store"}
# Of a form's fields beside the file: a clerk's choices, not a second file.
SMALL = 100_000
PART = 16 << 20  # of a file that comes bit by bit

Word = Annotated[models.Text, Field(max_length=200)]


def _said(value: object) -> object:
    """What a form carries of several parts, which it writes as JSON."""
    return json.loads(value) if isinstance(value, str) else value


class AsLayer(BaseModel):
    """What the file becomes when it is none of the nouns: a layer of its own, or with `id` the next edition of that one. Who
    answers for several areas says with `scope` whose it is; a file of points and polygons, with `kind`, which it is to hold."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    title: Annotated[models.Text, Field(max_length=80)] = ""
    about: Annotated[models.Text, Field(max_length=2000)] = ""
    audience: Seer = "workers"
    color: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")] | None = None
    opacity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    kind: Kind | None = None
    scope: Annotated[str, Field(pattern="^[0-9A-Z]{1,15}$")] | None = None

    @model_validator(mode="after")
    def _called(self) -> "AsLayer":
        if self.id is None and not self.title.strip():
            raise ValueError("请给图层起个名字。")
        return self


class Choices(BaseModel):
    """How a file is to be read, where it was not understood by itself. What is not given is found out."""

    model_config = ConfigDict(extra="forbid")

    noun: Annotated[models.Text, Field(max_length=40)] | None = None
    # Whatever noun it might be.
    as_layer: Annotated[AsLayer, BeforeValidator(_said)] | None = None
    columns: Annotated[dict[Word, Word], Field(max_length=200)] | None = None
    values: Annotated[dict[Word, Word], Field(max_length=200)] | None = None
    encoding: Word | None = None
    crs: Word | None = None
    datum: Literal["wgs84", "cgcs2000", "gcj02", "bd09"] | None = None
    layer: Word | None = None
    axes: Literal["xy", "yx"] | None = None
    header: Word | None = None
    dates: Word | None = None
    numbers: Word | None = None
    repair: bool | Annotated[list[int], Field(max_length=10_000)] | None = None
    blank: Literal["keep", "clear"] | None = None


class Applied(BaseModel):
    """How what was read is written: all of it or none, or the rows that are good; and what becomes of records that the file no
    longer names."""

    model_config = ConfigDict(extra="forbid")

    valid_only: Annotated[bool, Field(strict=True)] = False
    missing: Literal["keep", "retire"] = "keep"
    remember: Annotated[bool, Field(strict=True)] = True


class Begun(BaseModel):
    """A file that is going to come bit by bit."""

    model_config = ConfigDict(extra="forbid")

    name: Word
    size: Annotated[int, Field(ge=1, le=2**40)]


@routes.post(
    "/uploads", summary="Send a file", status_code=202, dependencies=[limited("upload"), able("load"), strict()],
    responses={202: {"description": "Kept; it is being read", "headers": {"Location": {"schema": {"type": "string"}}}}},
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
        "type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}, "noun": {"type": "string"}},
    }}}}},
)
async def send(
    request: Request, who: CallerNow, home: Home, key: Key,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """A file in the field `file`, other fields as in `PATCH /uploads/{id}`. It is written to the disk as it comes, sealed. With an
    `Idempotency-Key` the same file sent again is the same upload."""
    id = uuid4()
    async with deps.meanwhile(request):
        name, sealing, fields = await received(request, uploading.file_of(home, id))
    try:
        choices = chosen(fields)
        made = await anyio.to_thread.run_sync(lambda: _made(request, who, key, id, name, sealing, idempotency_key, choices))
    except BaseException:
        sealing.path.unlink(missing_ok=True)
        raise
    if made != id:
        sealing.path.unlink(missing_ok=True)
    if wants_html(request, None):
        return see(f"/uploads/{made}")
    return JSONResponse({"id": str(made), "state": "queued"}, 202, PRIVATE | {"Location": f"/uploads/{made}"})


def _made(
    request: Request, who: CallerNow, key: Key, id: UUID, name: str, sealing: vault.Sealing, repeat: str | None, choices: Mapping[str, Any]
) -> UUID:
    with contextmanager(deps.bound)(request, who) as connection:
        return uploading.made(connection, key, id, name, sealing, repeat, choices)


@routes.post("/partial_uploads", summary="Begin a file that comes bit by bit", status_code=201, dependencies=[limited("upload"), able("load"), strict()])
def begin(begun: Begun, connection: Connection, key: Key) -> Response:
    """For large files and bad networks: send the bytes by `PUT`, from where `taken` says, in parts of a multiple of `piece`."""
    if begun.size > settings().upload_bytes:
        raise TooLarge("文件超过 {most} MB。", most=settings().upload_bytes // 1_000_000)
    made = uploading.begun(connection, key, uuid4(), uploading.plain(begun.name), begun.size)
    return JSONResponse(_partial(made), 201, PRIVATE | {"Location": f"/partial_uploads/{made.id}"})


@routes.get("/partial_uploads/{id}", summary="How much of it has come", dependencies=[able("load"), strict()])
def so_far(id: UUID, connection: Connection) -> Response:
    """`taken` bytes; after the last there is no partial file any more, but an upload of the same number."""
    return JSONResponse(_partial(uploading.partial(connection, id)), headers=PRIVATE)


@routes.put(
    "/partial_uploads/{id}", summary="The next bytes of it", dependencies=[able("load"), strict("at", "noun")],
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
    responses={202: {"description": "It is whole, and is being read"}},
)
async def go_on(
    id: UUID, request: Request, who: CallerNow, home: Home, key: Key, at: Annotated[int, Query(ge=0, le=2**40)],
    noun: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """From byte `at` on, at most 16 MiB at a time. A part that does not join is answered 409 with what has come."""
    part = bytearray()
    async with deps.meanwhile(request):
        async for chunk in request.stream():
            part += chunk
            if len(part) > PART:
                raise TooLarge("一段最多 {most} MB。", most=PART >> 20)
    done = await anyio.to_thread.run_sync(lambda: _continued(request, who, key, home, id, at, bytes(part), chosen({"noun": noun or ""})))
    if done.taken < done.size:
        return JSONResponse(_partial(done), headers=PRIVATE)
    return accepted(id, "queued")


def _continued(
    request: Request, who: CallerNow, key: Key, home: Path, id: UUID, at: int, part: bytes, choices: Mapping[str, Any]
) -> uploading.Partial:
    with contextmanager(deps.bound)(request, who, read_only=False) as connection:
        return uploading.continued(connection, key, home, id, at, part, choices)


def _partial(partial: uploading.Partial) -> dict[str, Any]:
    return {"id": str(partial.id), "size": partial.size, "taken": partial.taken, "piece": vault.PIECE}


@routes.get("/uploads", summary="One's own files", dependencies=[able("load"), strict("limit")])
def listed(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow,
    limit: Annotated[int, Query(ge=1, le=200)] = 50, f: Literal["html", "json"] | None = None,
) -> Response:
    """Newest first."""
    if wants_html(request, f):
        return upload_pages.uploads_page(request, connection, who, language)
    return JSONResponse({"uploads": [told_of(upload) for upload in uploading.listed(connection, limit)]}, headers=PRIVATE)


@routes.get(
    "/uploads/{id}", summary="How far a file has got", dependencies=[able("load"), strict("step", "tab", "field", "reason", "after")]
)
def one(
    id: UUID, request: Request, connection: Connection, who: CallerNow, language: LanguageNow, f: Literal["html", "json"] | None = None
) -> Response:
    """Its `state`, how it was understood and why, and how many rows are new, changed, unchanged, in conflict or refused."""
    upload = uploading.told(connection, id)
    if wants_html(request, f) or request.headers.get("hx-request"):
        return upload_pages.upload_page(request, connection, who, language, upload)
    progress = {"Retry-After": "1"} if upload.state in ("queued", "reading", "applying") or upload.undoing else {}
    return JSONResponse(told_of(upload), headers=PRIVATE | progress)


@routes.patch("/uploads/{id}", summary="Have it read another way", status_code=202, dependencies=[able("load"), strict()])
def reread(id: UUID, choices: Choices, connection: Connection) -> Response:
    """The choices given take the place of those before; `null` gives one up. The file is read again."""
    upload = uploading.told(connection, id)
    given = choices.model_dump(mode="json", exclude_unset=True)
    fresh = {name: value for name, value in {**upload.choices, **given}.items() if value is not None}
    uploading.moved(connection, id, "read", fresh)
    return accepted(id, "queued")


@routes.get("/uploads/{id}/problems", summary="What is wrong with it", dependencies=[able("load"), strict("field", "reason", "after", "limit")])
def problems(
    id: UUID, connection: Connection, field: Annotated[str | None, Query(max_length=100)] = None,
    reason: Annotated[str | None, Query(max_length=300)] = None, after: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Row, field, value, what is wrong and what to do, in the order of the file."""
    return JSONResponse(jsonable_encoder({"problems": uploading.problems(connection, id, field, reason, after, limit)}), headers=PRIVATE)


@routes.get("/uploads/{id}/difference", summary="What it would change", dependencies=[able("load"), strict("fate", "after", "limit")])
def difference(
    id: UUID, connection: Connection, fate: Literal["new", "changed", "unchanged", "conflict", "missing"] | None = None,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1, limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Rows with their fate; of a changed one, each field before and after."""
    upload = uploading.told(connection, id)
    rows = uploading.rows(connection, id, fate, after, limit)
    return JSONResponse(jsonable_encoder({"counts": upload.counts, "rows": rows}), headers=PRIVATE)


@routes.get(
    "/uploads/{id}/tiles/{z}/{x}/{y}.mvt", summary="Where it lies", dependencies=[able("load"), strict()], response_class=Response,
    responses={200: {"content": {"application/vnd.mapbox-vector-tile": {}}}},
)
def tile(id: UUID, z: int, x: int, y: int, connection: Connection) -> Response:
    """What is staged, drawn before it is written."""
    if not (0 <= z <= 22 and 0 <= x < 2**z and 0 <= y < 2**z):
        raise Invalid("没有这个瓦片。")
    return Response(uploading.tile(connection, id, z, x, y), media_type="application/vnd.mapbox-vector-tile", headers=PRIVATE)


@routes.post("/uploads/{id}/apply", summary="Write it", status_code=202, dependencies=[able("load"), strict()])
def apply(id: UUID, applied: Applied, connection: Connection) -> Response:
    """As one batch. When what is there has changed since, nothing is written and it is `ready` again, to be looked at."""
    upload = uploading.told(connection, id)
    uploading.moved(connection, id, "apply", {**upload.choices, **applied.model_dump()})
    return accepted(id, "applying")


@routes.post("/uploads/{id}/undo", summary="Take it back", status_code=202, dependencies=[able("load"), strict()])
def undo(id: UUID, connection: Connection) -> Response:
    """What it added is retired, what it changed is as it was. Refused where somebody has changed a row since."""
    uploading.moved(connection, id, "undo")
    return accepted(id, "applied")


@routes.delete("/uploads/{id}", summary="Give it up", status_code=204, dependencies=[able("load"), strict()])
def discard(id: UUID, connection: Connection) -> Response:
    """Before it is written: file and staged rows are destroyed."""
    uploading.discarded(connection, id)
    return Response(status_code=204, headers=PRIVATE)


def accepted(id: UUID, state: str) -> Response:
    """That it is being done, and where to ask."""
    return JSONResponse({"id": str(id), "state": state}, 202, PRIVATE | {"Location": f"/uploads/{id}"})


def told_of(upload: Upload) -> dict[str, Any]:
    """An upload as a program reads it."""
    told: dict[str, Any] = jsonable_encoder(vars(upload))
    return told


def chosen(fields: Mapping[str, str]) -> dict[str, Any]:
    """The choices that came along with a file, as a form writes them. Raises `Invalid` for one that is not known."""
    known = {name: value for name, value in fields.items() if value.strip()}
    try:
        return Choices.model_validate(known).model_dump(mode="json", exclude_none=True)
    except ValueError as error:
        raise Invalid("表单里有不认识的项:{fields}", fields=sorted(set(known) - set(Choices.model_fields)) or sorted(known)) from error


async def received(request: Request, path: Path) -> tuple[str, vault.Sealing, dict[str, str]]:
    """The file of a form, sealed on the disk, its name, and the form's other fields.

    Raises `Invalid` for what is no such form, `TooLarge` beyond `settings().upload_bytes`. Nothing is left then.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise Invalid("请用表单(multipart/form-data)上传,文件放在 file 一栏。", field="file")
    form = _Form(path)
    try:
        with vault.Sealing(path) as sealing:
            form.sealing = sealing
            parser = MultipartParser(options[b"boundary"], form.callbacks())
            try:
                async for chunk in request.stream():
                    await anyio.to_thread.run_sync(parser.write, chunk)
                    if sealing.size > settings().upload_bytes:
                        raise TooLarge("文件超过 {most} MB。", most=settings().upload_bytes // 1_000_000)
                parser.finalize()
            except FormParserError as error:
                raise Invalid("表单不完整或读不懂,请重新上传。", field="file") from error
            if not form.ended:
                raise Invalid("表单不完整或读不懂,请重新上传。", field="file")
            form.closed()
            if form.name is None and (pasted := form.fields.pop("text", "").strip()):
                # A table or a 接龙 list from the clipboard, where there is no script to make a file of it.
                form.name = f"{translated('粘贴的内容', deps.language(request))}.txt"
                sealing.write(pasted.encode())
            if form.name is None or not sealing.size:
                raise Invalid("没有收到文件,或文件是空的。", field="file")
    except FileExistsError as error:
        raise Invalid() from error
    return uploading.plain(form.name), sealing, form.fields


class _Form(Parts):
    """A form as it is parsed: small fields into memory, its file straight into the sealing. The parts of a shapefile, which come
    as files of their own, go into one archive."""

    PARTS = (".shp", ".dbf", ".shx", ".prj", ".cpg", ".sbn", ".sbx", ".qpj")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sealing: vault.Sealing | None = None
        self.name: str | None = None
        self._archive: ZipFile | None = None
        self._member: IO[bytes] | None = None

    def closed(self) -> None:
        """Nothing more comes: an archive gets its table of contents."""
        if self._archive is not None:
            self._archive.close()

    def _sent(self, name: str) -> None:
        assert self.sealing is not None
        super()._sent(name)
        name = uploading.plain(name)
        if name.lower().endswith(self.PARTS) and (self.name is None or self._archive is not None):
            if self._archive is None:
                self._archive, self.name = ZipFile(self.sealing, "w"), f"{name.rpartition('.')[0]}.zip"  # type: ignore[call-overload]
            self._member = self._archive.open(name, "w", force_zip64=True)
        elif self.name is None and self._field == "file":
            self.name = name
        else:
            raise Invalid("一次传一个文件,放在 file 一栏;几个文件请打成一个 ZIP。", field="file")

    def _part(self, data: bytes, start: int, end: int) -> None:
        if self._filed:
            assert self.sealing is not None
            (self._member or self.sealing).write(data[start:end])
            return
        self._data += data[start:end]
        if len(self._data) > SMALL or len(self.fields) > 50:
            raise TooLarge()

    def _over(self) -> None:
        if self._member is not None:
            self._member.close()
            self._member = None
        super()._over()
