"""What is installed and what state it is in, one finding at a time, each with the way out.

It only looks: nothing is started or made, and what stands in the way of looking is a finding itself.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy import URL

from geo import db, workdays
from geo.cluster import ADMIN, DATABASE, OLDEST_POSTGIS, OLDEST_POSTGRES, Cluster, chosen, installed, reached
from geo.disclosure import REVIEWED_WITHIN
from geo.errors import GeoError
from geo.keys import field_key_path, logins_path, weaknesses
from geo.statements import run
from geo.terminal import said

OLDEST_PYTHON = (3, 11)
ROOMY = 2 << 30  # bytes: the sample town with its log takes 0.3 GB, a load as much again
AHEAD = timedelta(days=14)  # of the days that limits reach into, most
VENDOR = Path(__file__).parents[1] / "maps" / "assets" / "vendor"
ASSETS = ("leaflet/leaflet.js", "leaflet/leaflet.css", "htmx/htmx.min.js", "swagger/swagger-ui-bundle.js")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROLES = (
    "owner", "definer", "public", "own", "partner", "area", "leader", "organisation", "partner_several", "area_several",
    "leader_several", "organisation_several", "direct", "web", "door", "loader", "trail", "sealer",
)

GUARDS = (
    "trail.trail_kept", "trail.trail_floor", "trail_cuts.trail_kept", "trail_cuts.trail_cut", "changes.changes_trailed",
    "instance.trail_hash_kept", "instance.instance_trailed", "direct_logins.direct_logins_trailed",
    "certificates.certificates_trailed", "assessments.assessments_trailed", "rights_log.rights_log_trailed",
)


@dataclass(frozen=True)
class Finding:
    """`subject` is well or not; `detail` is what was seen and, where something is wrong, what to do."""

    subject: str
    well: bool
    detail: str


def findings(home: Path, port: int, environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """Everything looked at, in the order in which one thing needs the other. Starts nothing, raises nothing."""
    given = bool(environ.get("JINGWEI_DATABASE_URL"))
    looks: dict[str, Callable[[], Iterator[tuple[bool, str]]]] = {
        "Python": _python,
        "PostgreSQL": partial(_server, given),
        "页面脚本": _assets,
        "浏览器和字体": _browser,
        "网页端口": partial(_port, home, port),
        "磁盘": partial(_disk, home),
        "密钥": partial(_keys, home, environ),
        "读文件的进程": _walls,
        "RAR 和 7z": _archives,
        "数据库": partial(_given, environ) if given else partial(_private, home),
    }
    return [Finding(said(subject), *told) for subject, look in looks.items() for told in _seen(look)]


def _seen(look: Callable[[], Iterator[tuple[bool, str]]]) -> Iterator[tuple[bool, str]]:
    try:
        yield from look()
    except GeoError as error:
        yield False, said(str(error))
    except Exception as error:
        # Whatever it is: someone asks the doctor because something is broken, and the other findings still count.
        yield False, said("没能检查({problem})。", problem=(str(error).strip() or type(error).__name__).splitlines()[0])


def _python() -> Iterator[tuple[bool, str]]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        yield True, version
    else:
        yield False, said("{version},需要 3.11 或更新的版本:请安装 python3.11,再运行 make demo。", version=version)


def _server(given: bool) -> Iterator[tuple[bool, str]]:
    if given:
        yield True, said("用 JINGWEI_DATABASE_URL 指向的数据库,不需要本机的。")
        return
    best = chosen(installed())
    yield True, said(
        "{version},PostGIS {postgis},在 {folder}", version=best.version.split()[0], postgis=best.postgis, folder=best.folder
    )


def _assets() -> Iterator[tuple[bool, str]]:
    missing = [name for name in ASSETS if not (VENDOR / name).is_file()]
    if missing:
        yield False, said("缺少 {missing}:请运行 make demo 取来。", missing="、".join(missing))
    else:
        yield True, str(VENDOR)


def _browser() -> Iterator[tuple[bool, str]]:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    fonts = any(Path("/usr/share/fonts").glob("**/*CJK*"))
    missing = [name for name, there in (("chromium", browser), ("fonts-noto-cjk", fonts)) if not there]
    if missing:
        # Not wrong: a server needs neither.
        yield True, said("没有 {missing}:只有测试和打印才需要,make test 会自动安装。", missing="、".join(missing))
    else:
        yield True, str(browser)


def _port(home: Path, port: int) -> Iterator[tuple[bool, str]]:
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if not taken:
        yield True, said("{port} 空闲", port=port)
    elif _ours(home / "server.pid"):
        yield True, said("{port} 由本服务使用", port=port)
    else:
        yield False, said("{port} 被别的程序占用:请停掉它,或用 JINGWEI_PORT 换一个端口。", port=port)


def _ours(note: Path) -> bool:
    try:
        return b"api.cli" in (command := Path(f"/proc/{int(note.read_text())}/cmdline").read_bytes()) or b"jingwei" in command
    except (OSError, ValueError):
        return False


def _disk(home: Path) -> Iterator[tuple[bool, str]]:
    folder = next(place for place in (home, *home.absolute().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    room = f"{free / (1 << 30):.1f} GB"
    if free >= ROOMY:
        yield True, said("{home} 还有 {room}", home=home, room=room)
    else:
        yield False, said("{home} 只剩 {room}:请腾出空间,或用 JINGWEI_HOME 另指一处。", home=home, room=room)


# In a child, because a namespace once left cannot be entered again; the same two tries as in `geo.reading`.
UNSHARED = "import ctypes, sys; libc = ctypes.CDLL(None); sys.exit(libc.unshare(0x40000000) and libc.unshare(0x50000000))"


def _walls() -> Iterator[tuple[bool, str]]:
    walled = subprocess.run([sys.executable, "-c", UNSHARED], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    if walled.returncode == 0:
        yield True, said("读上传的文件时断开网络")
    elif not _routed():
        yield True, said("不能自己断开网络,但这里本来就没有通往外面的路")
    else:
        yield False, said(
            "读上传的文件时断不开网络:请允许普通用户建名字空间(sysctl kernel.unprivileged_userns_clone=1),"
            "或放进没有出口的容器网络。"
        )


def _archives() -> Iterator[tuple[bool, str]]:
    from geo.reading.archives import library

    if library() is None:
        # Not wrong: only who sends such archives is asked for a ZIP instead.
        yield True, said("没有 libarchive,上传的 .rar 和 .7z 会请人另存为 ZIP:要读就请安装 libarchive13。")
    else:
        yield True, said("能读")


def _routed() -> bool:
    """Whether there is a way out of this machine or container."""
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    return any(route[1] == "00000000" for route in routes)


def _keys(home: Path, environ: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    url = None
    if environ.get("JINGWEI_DATABASE_URL"):
        # What is no address is told where the database is looked at.
        with contextlib.suppress(GeoError):
            url = _address(environ)
    weak = list(weaknesses(home, url, environ))
    yield from ((False, sentence) for sentence in weak)
    if not any(path.exists() for path in (logins_path(home), field_key_path(home))):
        yield True, said("还没有建立:第一次启动时会建在 {place}", place=logins_path(home).parent)
    elif not weak:
        yield True, said("{place},请另行备份:丢了字段密钥,加密的内容就读不出来了。", place=logins_path(home).parent)


def _given(environ: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    yield from _database(_address(environ))


def _address(environ: Mapping[str, str]) -> URL:
    # The administrator's address does not depend on the home, and in ours the passwords would be made.
    with tempfile.TemporaryDirectory() as nowhere:
        return reached(Path(nowhere), environ).url()


def _private(home: Path) -> Iterator[tuple[bool, str]]:
    cluster = Cluster(home)
    version = cluster.data / "PG_VERSION"
    if not version.exists():
        yield True, said("还没有建立:运行 make demo 时会建在 {place}", place=cluster.place)
        return
    best = chosen(installed(), int(version.read_text()), cluster.data)
    if not cluster.running:
        yield True, said("PostgreSQL {major},没有运行,在 {place}", major=best.major, place=cluster.place)
        return
    if not field_key_path(home).exists():
        sentence = "字段密钥 {path} 不见了,而数据还在:请从备份放回这个文件,或连同 {data} 一起移走重新开始。"
        yield False, said(sentence, path=field_key_path(home), data=cluster.place)
    # Not `ensure`, which repairs; the loopback port is written down beside the data.
    password = json.loads(logins_path(home).read_bytes())[ADMIN]
    port = int((cluster.place / "port").read_text())
    yield from _database(URL.create("postgresql+psycopg", ADMIN, password, "127.0.0.1", port, DATABASE), best.version)


def _database(url: URL, installed_version: str | None = None) -> Iterator[tuple[bool, str]]:
    engine = db.engine(url, pool=1)
    try:
        with engine.begin() as connection:
            yield from _asked(connection, installed_version)
    except sa.exc.OperationalError as error:
        sentence = "{host}:{port} 上的数据库 {name} 连不上({problem}):请检查地址、口令和它是否在运行。"
        problem = str(error.orig).strip().splitlines()[0].rpartition("failed: ")[2]
        yield False, said(sentence, host=url.host, port=url.port or 5432, name=url.database, problem=problem)
    finally:
        engine.dispose()


def _asked(connection: sa.Connection, installed_version: str | None) -> Iterator[tuple[bool, str]]:
    facts = run(connection, "database_facts").one()
    version = facts.version.split()[0]
    if facts.major < OLDEST_POSTGRES:
        yield False, said("是 PostgreSQL {version},需要 15 或更新的版本:请换一个数据库。", version=version)
    elif installed_version and facts.version != installed_version:
        sentence = "运行中的是 {version},装着的已是 {installed}:请运行 jingwei stop,再启动一次。"
        yield False, said(sentence, version=version, installed=installed_version.split()[0])
    else:
        yield True, said("PostgreSQL {version},在运行", version=version)
    yield _postgis(facts.postgis, facts.offered)
    if not facts.founded:
        yield False, said("还没有建表:请运行 jingwei migrate。")
        return
    yield (current := _migrated(run(connection, "migrated_to").scalars().all()))
    if current[0]:
        yield _kept(*run(connection, "what_waits").one())
        yield _reviewed(run(connection, "unreviewed", days=REVIEWED_WITHIN.days).scalar_one())
        yield _dated(workdays.known(connection))
    missing = [role for role in ROLES if f"jingwei_{role}" not in facts.roles]
    if missing:
        yield False, said("缺少角色 {missing}:请运行 jingwei migrate。", missing="、".join(f"jingwei_{m}" for m in missing))
    else:
        yield True, said("{count} 个角色都在", count=len(ROLES))
    if facts.leakproof:
        yield True, said("geometry_overlaps 已标记 LEAKPROOF")
    else:
        # Lost by dump and restore, and only a superuser may set it.
        yield False, said("geometry_overlaps 没有标记 LEAKPROOF,地图查询会慢几百倍:请以数据库超级用户运行 jingwei migrate。")
    yield _guarded(run(connection, "trail_guards").scalars().all())
    instance = run(connection, "instance_told").one()
    yield True, said(
        "实例“{name}”,区域前缀 {prefix},{kind}", name=instance.name, prefix=instance.prefix or "—",
        kind=said("演示") if instance.demo else said("正式"),
    )


def _kept(overdue: int, late: int) -> tuple[bool, str]:
    if overdue:
        # The worker tries every night; two missed are no accident any more.
        return False, said("{count} 条个人信息到期两天还没有销毁:请看服务的日志,或运行 jingwei retention run。", count=overdue)
    if late:
        return False, said("{count} 个本人对个人信息的请求已逾期:请尽快答复。", count=late)
    return True, said("到期的个人信息都已销毁,本人的请求没有逾期")


def _reviewed(overdue: int) -> tuple[bool, str]:
    if overdue:
        sentence = "{count} 次查看明文超过 {days} 天没有人复核:请街道、区县或审计管理员打开 /unmaskings 复核。"
        return False, said(sentence, count=overdue, days=REVIEWED_WITHIN.days)
    return True, said("查看明文的复核没有逾期")


def _dated(known: workdays.Known) -> tuple[bool, str]:
    if known.last is None or known.last < date.today() + AHEAD:
        sentence = (
            "工作日历只到 {last},此后周一至周五都按上班算,节假日的期限会算错:请升级程序,"
            "或按放假通知填表,运行 jingwei calendar load。"
        )
        return False, said(sentence, last=known.last or "—")
    return True, said("工作日历已有 {first} 至 {last},本地另定 {own} 天", first=known.first, last=known.last, own=known.own)


def _postgis(present: str | None, offered: str | None) -> tuple[bool, str]:
    version = present or offered
    if version is None:
        return False, said("数据库服务器没有 PostGIS:请安装 3.3 或更新的版本。")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_POSTGIS:
        return False, said("PostGIS 是 {version},需要 3.3 或更新的版本:请升级,再运行 ALTER EXTENSION postgis UPDATE。", version=version)
    return True, said("PostGIS {version}", version=version)


def _guarded(present: Sequence[str]) -> tuple[bool, str]:
    missing = sorted(set(GUARDS) - set(present))
    if missing:
        sentence = "留痕的触发器 {missing} 不在或被停用,这期间的改动可能没有留痕:请运行 jingwei migrate,并查明是谁所为。"
        return False, said(sentence, missing="、".join(missing))
    return True, said("留痕的 {count} 个触发器都在", count=len(GUARDS))


def _migrated(versions: Sequence[str]) -> tuple[bool, str]:
    known = ScriptDirectory(str(files("geo.migrations")))
    head = known.get_current_head()
    if list(versions) == [head]:
        return True, said("表结构是最新的({version})", version=head)
    ours = {script.revision for script in known.walk_revisions()}
    if set(versions) <= ours:
        return False, said("表结构停在 {version},最新是 {head}:请运行 jingwei migrate。", version="、".join(versions), head=head)
    return False, said("表结构 {version} 比这个程序还新:请升级程序。", version="、".join(versions))
