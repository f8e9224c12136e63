"""The `jingwei` command."""

import contextlib
import os
import re
import secrets
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from api import cli_account, cli_audit, cli_open311, cli_retention, cli_times, cli_webhooks
from api.settings import settings
from geo import accounts, db, door, keys, schema, trail
from geo.cluster import ADMIN, DATABASE, Address, Cluster, reached
from geo.db import Caller
from geo.errors import Forbidden, GeoError, NotFound
from geo.language import translated
from geo.layers import Kind, Seer
from geo.secrets import SUITES
from geo.staging import Blank, Missing
from geo.terminal import said, spoken

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="经纬 Jingwei: a spatial governance server."
)
app.add_typer(cli_account.app, name="account")
app.add_typer(cli_retention.app, name="retention")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_times.calendar, name="calendar")
app.add_typer(cli_times.limiting, name="limits")
app.add_typer(cli_webhooks.app, name="webhooks")
app.add_typer(cli_open311.app, name="open311")
ring = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The keys of sealed fields.")
app.add_typer(ring, name="keys")
console = Console(highlight=False)
complain = Console(stderr=True, highlight=False)

# Four of them are a password of 26 bits that lasts as long as one demonstration on one's own machine.
WORDS = re.findall(
    r"\w+",
    "hill lake pine reed salt tide wind dune cove cape reef gull heron crane otter maple birch cedar fern moss brook grove"
    " meadow harbor island lantern anchor compass beacon pebble coral amber copper silver cobalt willow orchid lotus bamboo"
    " jasmine ginger pepper walnut almond cherry apricot quince plum persimmon kettle teapot basket ribbon thimble needle"
    " button candle mirror ladder hammer saddle bridle wagon barrel bucket bottle pencil paper drum flute cymbal fiddle"
    " organ banjo bugle chime gong zither harp lute",
)

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


def main() -> None:
    """Run a command; what goes wrong is one sentence that says what to do, and exit status 1."""
    try:
        app()
    except GeoError as error:
        rest = [f"{name}: {value}" for name, value in error.facts.items() if f"{{{name}}}" not in error.sentence]
        complain.print(error.said(partial(translated, language=spoken())), *rest, sep="\n  ", markup=False, soft_wrap=True)
        if type(error) is GeoError and error.__cause__ is not None:
            # Nobody's mistake but ours: what was behind the sentence is told too.
            complain.print(str(error.__cause__), markup=False, soft_wrap=True)
        sys.exit(1)


def address() -> Address:
    """The database to work on, started if it is our own."""
    return reached(settings().home, say=lambda sentence: complain.print(sentence, markup=False))


@contextlib.contextmanager
def engine(login: str = "jingwei_admin") -> Iterator[sa.Engine]:
    """An engine for one command."""
    made = db.engine(address().url(login), pool=1)
    try:
        yield made
    finally:
        made.dispose()


@app.command()
def init(
    cipher: Annotated[str | None, typer.Option(help="aes-256-gcm | sm4-gcm: how phone numbers are sealed and hashed")] = None,
    trail_hash: Annotated[str | None, typer.Option(help="sha256 | sm3: how the trail is chained")] = None,
) -> None:
    """Choose the ciphers of a new instance, once, before its first start; without it, aes-256-gcm and sha256."""
    if cipher not in (None, *SUITES):
        raise typer.BadParameter(str(cipher))
    if trail_hash not in (None, *keys.TRAIL_HASHES):
        raise typer.BadParameter(str(trail_hash))
    home = settings().home
    chosen = keys.settled(home, cipher, trail_hash)
    keys.field_key(home)
    sentence = "字段用 {cipher} 封存,留痕用 {trail_hash} 相连。密钥在 {place}:请另行备份,丢了就读不出封存的内容。"
    console.print(
        said(sentence, cipher=chosen.cipher, trail_hash=chosen.trail_hash, place=keys.field_key_path(home)), markup=False, soft_wrap=True
    )


@app.command()
def migrate() -> None:
    """Bring the database to the declared state."""
    # Whoever has not chosen by now has chosen the defaults.
    chosen = keys.settled(settings().home)
    found = address()
    name = found.url().database or DATABASE
    if settings().database_url is None:
        maintenance = db.engine(found.url(database="postgres"), pool=1)
        with db.translated():
            schema.founded(maintenance, name)
        maintenance.dispose()
    made = db.engine(found.url(), pool=1)
    with db.translated():
        schema.migrate(made, found.passwords)
        with made.begin() as connection:
            trail.hashed(connection, chosen.trail_hash)
        cli_retention.replayed(made)
    made.dispose()


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="JINGWEI_PORT")] = None,
    workers: Annotated[int | None, typer.Option(help="web processes (JINGWEI_WORKERS)")] = None,
) -> None:
    """Answer requests until interrupted."""
    from api import serving

    chosen = settings()
    _sound(chosen.home)
    # Before anybody is answered: a restored backup may have brought back what was destroyed.
    with engine() as made:
        cli_retention.replayed(made)
        _opened(made)
    with _noted(chosen.home):
        serving.serve(port or chosen.port, workers or chosen.workers, chosen.host)


@app.command()
def demo() -> None:
    """Set up the sample town and serve it; Ctrl-C leaves nothing running."""
    from api import serving

    chosen = settings()
    started = time.monotonic()
    _sound(chosen.home)
    serving.free(chosen.host, chosen.port)
    mine = chosen.database_url is None
    running = mine and Cluster(chosen.home).running
    try:
        migrate()
        with engine() as made:
            _sampled(made)
            _exhibited(made)
        url = f"http://{chosen.host}:{chosen.port}/"
        console.print(said("就绪,用时 {seconds:.0f} 秒。打开 {url} ,按 Ctrl-C 停止。", seconds=time.monotonic() - started, url=url))
        with _noted(chosen.home):
            serving.serve(chosen.port, chosen.workers, chosen.host)
    except KeyboardInterrupt:
        pass
    finally:
        if mine and not running:
            Cluster(chosen.home).stop()


@app.command()
def stop() -> None:
    """Stop the server and the private database."""
    chosen = settings()
    note = chosen.home / "server.pid"
    if note.exists():
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(note.read_text()), signal.SIGTERM)
        for _ in range(100):
            if not note.exists():
                break
            time.sleep(0.1)
        note.unlink(missing_ok=True)
    if chosen.database_url is None:
        Cluster(chosen.home).stop()


@app.command()
def doctor() -> None:
    """What is installed, what is wrong, and the way out."""
    from geo.doctor import findings

    wrong = 0
    for finding in findings(settings().home, port=settings().port):
        wrong += not finding.well
        console.print(f"{'✓' if finding.well else '✗'} {finding.subject}: {finding.detail}", markup=False, soft_wrap=True)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def load(
    file: Path,
    into: Annotated[str, typer.Option(help="the resource, such as areas or incidents; without it, what the file looks like")] = "",
    map: Annotated[list[str] | None, typer.Option(help="field=COLUMN")] = None,
    set: Annotated[list[str] | None, typer.Option(help="field=value, for every row")] = None,
    datum: Annotated[str | None, typer.Option(help="wgs84 | cgcs2000 | gcj02 | bd09")] = None,
    crs: Annotated[str | None, typer.Option(help="EPSG:…")] = None,
    encoding: Annotated[str | None, typer.Option(help="utf-8, gb18030 …")] = None,
    layer: Annotated[str | None, typer.Option(help="the layer or sheet, when a file has several")] = None,
    header: Annotated[str | None, typer.Option(help="which rows are the heading: 2, 2-3, 0 for none")] = None,
    blank: Annotated[Blank, typer.Option(help="a blank cell keeps what is there, or clears it")] = "keep",
    missing: Annotated[Missing, typer.Option(help="records that the file no longer names stay, or are retired")] = "keep",
    as_layer: Annotated[str, typer.Option(help="a title: the file becomes a layer of its own, whatever resource it may fit")] = "",
    edition_of: Annotated[UUID | None, typer.Option(help="the layer whose next edition the file is")] = None,
    audience: Annotated[Seer, typer.Option(help="of a new layer: who is shown it")] = "workers",
    color: Annotated[str | None, typer.Option(help="of a new layer: #RRGGBB")] = None,
    kind: Annotated[Kind | None, typer.Option(help="of a file of several kinds, what the layer holds")] = None,
    area: Annotated[str | None, typer.Option(help="of a new layer: the path of the area it is for; without it, the town")] = None,
) -> None:
    """Load a file into a resource: matched, checked, placed, stored, with a report of every row. Of a record that is there, by its
    code, what differs is changed. What is of no resource becomes a layer of its own, or the next edition of one."""
    from geo import intake, layering

    order = intake.Order(
        file, into, _pairs(map), _pairs(set), crs=crs, datum=datum, encoding=encoding, layer=layer, header=header, blank=blank, missing=missing,
    )
    with engine("jingwei_loader") as made, _progress(str(file.name)) as told:
        if as_layer or edition_of:
            wish = layering.Wish(str(edition_of) if edition_of else None, as_layer, audience=audience, color=color, kind=kind, scope=area)
            report = layering.load(made, order, wish, told)
        else:
            report = intake.load(made, order, keys.field_key(settings().home), settings().home / "cache", told)
    _print(report)


@app.command()
def export(
    resource: str,
    format: Annotated[str, typer.Option(help="csv | xlsx | geojson | geojsons | gpkg | fgb | shp (a zip) | kml | parquet")] = "csv",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file; a folder with --approved")] = None,
    fields: Annotated[str | None, typer.Option(help="comma-separated")] = None,
    encoding: Annotated[str, typer.Option(help="utf-8 | gbk: the text of a csv or shp")] = "utf-8",
    crs: Annotated[str | None, typer.Option(help="EPSG:4490 (degrees, the default) or EPSG:4513 to EPSG:4554: of a shp, gpkg, fgb or parquet")] = None,
    approved: Annotated[UUID | None, typer.Option(help="the request that a second person has approved: its records, fields and format")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="names and numbers in clear, as the approved request says")] = False,
) -> None:
    """Write a resource to a file, with the area of every level each record lies in. Masked, unless a second person has
    approved otherwise."""
    from geo import exporting

    if approved is not None:
        count, target = _taken(resource, approved, output or Path(), clear, encoding, crs)
    elif clear:
        raise Forbidden("明文要由另一个人批准:请先在网页上申请,批准后加 --approved 和申请的编号。")
    else:
        target = output or Path(exporting.file_name(resource, format))
        # A shapefile is several files, which travel as one.
        target = target.with_suffix(".zip") if format == "shp" else target
        exporting.Order(exporting.noun(resource), exporting.checked(format), encoding=encoding, crs=crs)
        _trailed(Caller("jingwei_admin"), resource, "?", "")
        with engine() as made:
            count = exporting.export(made, resource, target, format, fields.split(",") if fields else None, encoding=encoding, crs=crs)
    console.print(said("{count} 行写入 {target}", count=count, target=target), markup=False, soft_wrap=True)


@app.command()
def template(resource: str, file: Annotated[Path | None, typer.Argument(help="RESOURCE.xlsx without it")] = None) -> None:
    """Write an empty table of a resource, to be filled in and loaded: headings, drop-downs, an example, what each column means."""
    from geo import exporting, templates

    noun = exporting.noun(resource)
    target = file or Path(f"{resource}.xlsx")
    with engine() as made, db.translated(), made.connect() as connection:
        lists = {field.listed: exporting.listed(connection, field.listed) for field in noun.writable if field.listed}
    target.write_bytes(templates.template(noun, lists, say=partial(translated, language=spoken())))
    console.print(said("模板写入 {target}", target=target), markup=False, soft_wrap=True)


@app.command()
def place(
    resource: Annotated[str | None, typer.Argument()] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north: only what lies there")] = None,
) -> None:
    """Place everything anew, or a stretch of it; only what differs is written."""
    from geo import placing

    box = tuple(float(part) for part in bbox.split(",")) if bbox else None
    with engine() as made, made.begin() as connection:
        for noun, moved in placing.replace(connection, resource, box).items():
            console.print(f"{noun}: {moved}", markup=False)


@app.command()
def topology(level: Annotated[str, typer.Argument(help="grid, community, street …")] = "grid") -> None:
    """Gaps, overlaps, slivers and codes of one level, measured in m²."""
    from geo import topology as report

    with engine() as made, made.begin() as connection:
        for finding in report.findings(connection, level):
            measure = f"{finding.measure_m2:,.1f} m²" if finding.measure_m2 is not None else ""
            title = translated(report.KINDS[finding.kind][0], spoken())
            console.print(title, finding.subject, measure, markup=False, soft_wrap=True)


@app.command()
def undo(batch: UUID) -> None:
    """Take a whole load back."""
    from geo import ends

    with engine() as made, db.translated(), made.begin() as connection:
        console.print(said("撤回 {count} 行", count=ends.undo(connection, batch)), markup=False)


@app.command()
def destroy(resource: str, id: UUID) -> None:
    """Destroy one record for privacy's sake, with its past. Not to be taken back."""
    from geo import retention
    from geo.catalog import RESOURCES

    if resource not in RESOURCES:
        raise NotFound()
    with engine() as made, db.translated(), made.begin() as connection:
        issued = retention.destroy(connection, settings().home, RESOURCES[resource], [id])
    console.print(said("已销毁,证明编号 {id}", id=issued.id), markup=False, soft_wrap=True)


@ring.command()
def rotate() -> None:
    """Seal everything under a new key while the server runs. Interrupted, it goes on when it is run again."""
    from geo import sealing

    home = settings().home
    with engine() as made, _progress(said("换密钥")) as told:
        trail.append(made, trail.Entry("key", ADMIN, result="begun"))
        change = sealing.rotate(made, home, told)
        trail.append(made, trail.Entry("key", ADMIN, feature=str(change.number), result=f"done: {change.moved}"))
    sentence = "{count} 个值已换到第 {number} 号密钥。请现在另行备份 {place}。"
    place = keys.field_key_path(home)
    console.print(said(sentence, count=change.moved, number=change.number, place=place), markup=False, soft_wrap=True)
    for path in change.aside:
        sentence = "旧密钥在 {path}:和换密钥之前的数据库备份放在一起,移出这台机器;那些备份不再需要时销毁它。"
        console.print(said(sentence, path=path), markup=False, soft_wrap=True)


@ring.command()
def status() -> None:
    """How many values are sealed under which key. Exit status 1 when the key of some is missing."""
    from geo import sealing

    home = settings().home
    held = keys.field_key(home).ring
    with engine() as made:
        counted = sealing.status(made)
    for number, key in sorted(held.keys.items()):
        state = said("当前") if number == held.current else said("换密钥没有完:请再运行一次 jingwei keys rotate") if key.encryption else said("只用于散列")
        total = sum(count for (_, under), count in counted.items() if under == number)
        console.print(said("第 {number} 号({suite},{state}):{count} 个值", number=number, suite=key.suite.name, state=state, count=total), markup=False)
    for (place, number), count in sorted(counted.items()):
        console.print(f"  {place}  {number}  {count}", markup=False)
    for number, path in keys.former(home):
        console.print(said("旧密钥 {number} 还在 {path}", number=number, path=path), markup=False, soft_wrap=True)
    missing = sum(count for (_, number), count in counted.items() if number not in held.keys)
    if missing:
        console.print(said("{count} 个值的密钥不在 {place}:请从备份放回那时的密钥文件。", count=missing, place=keys.field_key_path(home)), markup=False, soft_wrap=True)
    raise typer.Exit(1 if missing else 0)


@app.command()
def docs(check: Annotated[bool, typer.Option(help="only compare")] = False) -> None:
    """Write the generated reference pages."""
    from api import reference

    raise typer.Exit(reference.write(check))


@app.command()
def migration(message: str) -> None:
    """Draft a migration from what the declarations say and the database does not."""
    from alembic import command

    migrate()
    with engine() as made, made.begin() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE jingwei_owner")
        config = schema.alembic_config()
        config.attributes["connection"] = connection
        number = len(list((Path(schema.__file__).parent / "migrations" / "versions").glob("*.py"))) + 1
        command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")


def _taken(resource: str, id: UUID, folder: Path, clear: bool, encoding: str, crs: str | None) -> tuple[int, Path]:
    """The file of an approved request, written as who asked for it would be given it, and once."""
    from geo import exports
    from geo.keys import field_key

    if not folder.is_dir():
        raise NotFound("没有文件夹 {folder}:文件名由申请定,-o 只指文件夹。", folder=folder)
    with engine() as made, db.translated(), made.begin() as connection:
        who = exports.requester(connection, id)
    with engine("jingwei_web") as web:
        with db.transaction(web, who, read_only=True) as connection:
            export = exports.approved(connection, id, resource)
        if clear and not export.clear:
            raise Forbidden("批准的这份申请是脱敏的,不含明文。")
        target = folder / exports.file_name(export.noun, export.format, who, export)
        entry = _trailed(who, export.noun, str(id), export.purpose)
        with db.transaction(web, who) as connection:
            return exports.take(connection, export, target, entry, who, field_key(settings().home), encoding, crs), target


def _trailed(who: Caller, noun: str, feature: str, purpose: str) -> int:
    """The number of a row of the trail that tells of an export on this machine, committed before it is made."""
    told = trail.Entry("export", who.actor, who.acting_as, noun, feature, ",".join(who.scope), purpose, "asked on the server")
    with engine("jingwei_trail") as made:
        return trail.append(made, told)


def _sampled(made: sa.Engine) -> None:
    """The sample town, loaded once, through the same intake as any upload."""
    from geo import intake

    with db.translated(), made.begin() as connection:
        loaded = connection.scalar(sa.text("SELECT count(*) FROM batches WHERE undone_at IS NULL"))
        areas = connection.scalar(sa.text("SELECT count(*) FROM areas"))
        if loaded:
            return
        if areas:
            raise GeoError("这个数据库里已有数据,不是空的,示例城镇不会混进去。请换一个 JINGWEI_HOME 或数据库。")
        sheet = tomllib.loads((SAMPLE / "load.toml").read_text(encoding="utf-8"))
        connection.execute(
            sa.text("UPDATE instance SET name = :name, prefix = :prefix, demo = true"), sheet["instance"]
        )
    key = keys.field_key(settings().home)
    with engine("jingwei_loader") as loader, _progress(said("示例城镇")) as told:
        for entry in sheet["load"]:
            order = intake.Order(
                SAMPLE / entry["file"], entry["into"], entry.get("map", {}), entry.get("set", {}), crs=entry.get("crs"),
                datum=entry.get("datum"), encoding=entry.get("encoding"), layer=entry.get("layer"),
            )
            intake.load(loader, order, key, settings().home / "cache", told)
    with db.translated(), made.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def _opened(made: sa.Engine) -> None:
    """The way in for the first administrator; whoever was there for a demonstration only is there no more."""
    with db.translated(), made.begin() as connection:
        accounts.exhibited(connection, None)
        code = accounts.founded(connection)
    if code:
        link = f"{settings().own_url}/slip?code={code}"
        console.print(said("还没有人能登录。系统管理员 admin 用这个一次性链接设口令:{link}", link=link), markup=False, soft_wrap=True)


def _exhibited(made: sa.Engine) -> None:
    """An account for each role, with a password made for this start."""
    password = "-".join(secrets.choice(WORDS) for _ in range(4))
    with db.translated(), made.begin() as connection:
        shown = accounts.exhibited(connection, door.strong(password))
    console.print(said("演示账号,口令都是 {password}", password=password), markup=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for account in shown:
        held = account["appointments"][0]
        table.add_row(f"  {account['login']}", translated(held["title"], spoken()), " ".join(held["names"]))
    console.print(table)


def _sound(home: Path) -> None:
    """Start nothing on a secret that others can guess or read."""
    keys.sound(home)
    if settings().database_url is not None:
        keys.sound(home, address().administrator)


@contextlib.contextmanager
def _noted(home: Path) -> Iterator[None]:
    note = home / "server.pid"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(os.getpid()))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Callable[[str, int, int | None], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=complain, transient=True, disable=not complain.is_terminal) as shown:
        task = shown.add_task(title, total=None)

        def told(step: str, done: int, total: int | None) -> None:
            shown.update(task, description=f"{title} {step}", completed=done, total=total)

        yield told


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(pair)
        pairs[name.strip()] = value
    return pairs


def _print(report: object) -> None:
    # Not wrapped: a terminal does that, and a file keeps its lines.
    console.print(str(report), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
