"""A private PostgreSQL + PostGIS cluster beside the project, for whoever brings no database of their own.

It shares nothing with the machine's other clusters: own data, own socket, own loopback port, own passwords.
What the distribution installed is only read. Everything lies in `<home>/cluster`, or below `/var/lib/jingwei`
when the OS user of the database cannot reach the home; then `<home>/cluster` is a link to there.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from geo.errors import Unavailable
from geo.keys import field_key, field_key_path, logins
from geo.terminal import said

OLDEST_POSTGRES = 15
OLDEST_POSTGIS = (3, 3)
ADMIN = "jingwei_admin"
DATABASE = "jingwei"

_ELSEWHERE = Path("/var/lib/jingwei")
# sun_path holds 108 bytes with its closing zero, and PostgreSQL adds "/.s.PGSQL.65535.lock" to the folder.
_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")
# Larger than any pid_max of Linux: a process of this number never runs.
_NOBODY = 4_194_305

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Binaries:
    """One installed PostgreSQL server; `postgis` is the version its extension folder offers, None without."""

    folder: Path
    version: str  # as the server reports it: "15.20 (Debian 15.20-0+deb12u1)"
    postgis: str | None

    @property
    def major(self) -> int:
        return _numbers(self.version)[0]

    @property
    def fit(self) -> bool:
        """Whether we can stand on it."""
        recent = self.postgis is not None and _numbers(self.postgis) >= OLDEST_POSTGIS
        return self.major >= OLDEST_POSTGRES and recent


@dataclass(frozen=True)
class Address:
    """Where the database answers, as its administrator; the other logins differ by name and password only."""

    administrator: URL
    passwords: Mapping[str, str] = field(repr=False)

    def url(self, login: str = ADMIN, database: str | None = None) -> URL:
        """The `postgresql+psycopg` URL of a login; without `database`, that of the administrator's URL."""
        url = self.administrator
        if login != ADMIN:
            url = url.set(username=login, password=self.passwords[login])
        return url.set(database=database) if database else url


@dataclass(frozen=True)
class Postmaster:
    """A running server, as its own lock file tells: pid, data folder, port, socket folder."""

    pid: int
    data: Path
    port: int
    sockets: Path


def reached(home: Path, environ: Mapping[str, str] = os.environ, say: Callable[[str], None] = _log.info) -> Address:
    """The database to use: that of JINGWEI_DATABASE_URL, else the private cluster, made and started when needed.

    The URL's password may come from the file JINGWEI_DATABASE_PASSWORD_FILE. Raises `Unavailable` with the way out.
    """
    given = environ.get("JINGWEI_DATABASE_URL")
    if not given:
        return Cluster(home, say).ensure()
    try:
        url = make_url(given)
        if url.get_backend_name() not in ("postgresql", "postgres"):
            raise ArgumentError(url.drivername)
    except ArgumentError as problem:
        sentence = "JINGWEI_DATABASE_URL 不是 PostgreSQL 地址:请写成 postgresql://用户:口令@主机:端口/数据库。"
        raise Unavailable(said(sentence)) from problem
    if secret := environ.get("JINGWEI_DATABASE_PASSWORD_FILE"):
        try:
            url = url.set(password=Path(secret).read_text().strip())
        except OSError as problem:
            sentence = "口令文件 {path} 不能读:请检查 JINGWEI_DATABASE_PASSWORD_FILE。"
            raise Unavailable(said(sentence, path=secret)) from problem
    return Address(url.set(drivername="postgresql+psycopg", database=url.database or DATABASE), logins(home))


def installed() -> list[Binaries]:
    """Every PostgreSQL server on this machine, the newest first."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    folders += [Path("/usr/local/pgsql/bin")]
    if config := shutil.which("pg_config"):
        folders += [Path(_printed([config, "--bindir"]))]
    if server := shutil.which("postgres"):
        folders += [Path(server).resolve().parent]
    found = {folder.resolve(): _described(folder) for folder in folders if (folder / "initdb").exists()}
    known = [binaries for binaries in found.values() if binaries is not None]
    return sorted(known, key=lambda binaries: _numbers(binaries.version), reverse=True)


def chosen(servers: list[Binaries], major: int | None = None, data: Path | None = None) -> Binaries:
    """The newest fit server, or the one that existing data of this major version needs. Raises `Unavailable`."""
    able = [server for server in servers if server.fit and major in (None, server.major)]
    if able:
        return able[0]
    recent = [server for server in servers if server.major >= OLDEST_POSTGRES]
    same = [server for server in recent if major in (None, server.major)]
    if same:
        sentence = "PostgreSQL {version} 缺少 PostGIS 3.3 或更新版本:请安装 postgresql-{major}-postgis-3。"
        raise Unavailable(said(sentence, version=same[0].version.split()[0], major=same[0].major))
    if major and servers:
        sentence = (
            "数据目录 {data} 属于 PostgreSQL {major},本机只有 {found}:"
            "请安装 postgresql-{major} 和 postgresql-{major}-postgis-3,或移走这个目录重新开始。"
        )
        versions = "、".join(server.version.split()[0] for server in servers)
        raise Unavailable(said(sentence, data=data, major=major, found=versions))
    sentence = (
        "没有找到 PostgreSQL 15 或更新版本的服务器程序:请运行 make demo 自动安装,"
        "或用 JINGWEI_DATABASE_URL 指向已有的 PostGIS。"
    )
    raise Unavailable(said(sentence))


class Cluster:
    """The private cluster of one home folder.

    `say` gets a sentence whenever something unusual was decided or repaired; `settings` are PostgreSQL
    parameters beyond ours, written at each start.
    """

    def __init__(
        self,
        home: Path,
        say: Callable[[str], None] = _log.info,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.say = say
        self.settings = dict(settings or {})

    def ensure(self) -> Address:
        """Make it if missing, repair what is half-made, start it if stopped. Idempotent, safe to call concurrently.

        Raises `Unavailable`: one sentence with what to do.
        """
        passwords = logins(self.home)
        with self._locked():
            self._settled()
            made = (self.data / "PG_VERSION").exists()
            binaries = chosen(installed(), self._major() if made else None, self.data)
            if not made:
                self._made(binaries, passwords[ADMIN])
            elif not field_key_path(self.home).exists():
                # A new key would be accepted silently, and every secret field read as nonsense from then on.
                sentence = "字段密钥 {path} 不见了,而数据还在:请从备份放回这个文件,或连同 {data} 一起移走重新开始。"
                raise Unavailable(said(sentence, path=field_key_path(self.home), data=self.place))
            running = self._postmaster() or self._started(binaries)
            return self._proved(running, binaries, passwords)

    def stop(self) -> None:
        """Stop it, ending all its sessions; nothing happens when it does not run."""
        if self.running:
            with self._locked():
                self._stopped()

    @property
    def running(self) -> bool:
        return self._postmaster() is not None

    @property
    def place(self) -> Path:
        """The folder of data, log and socket."""
        return (self.home / "cluster").resolve()

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "log"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            handle = os.open(self.home / "cluster.lock", os.O_RDONLY | os.O_CREAT, 0o644)
        except OSError as problem:
            sentence = "{home} 不能写({problem}):请以原来的用户运行,或用 JINGWEI_HOME 另指一处。"
            raise Unavailable(said(sentence, home=self.home, problem=problem.strerror)) from problem
        try:
            patience = time.monotonic() + 120
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as problem:
                    if time.monotonic() > patience:
                        sentence = "另一个进程占着 {home} 的数据库超过两分钟:请先结束它。"
                        raise Unavailable(said(sentence, home=self.home)) from problem
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)

    @cached_property
    def _owner(self) -> pwd.struct_passwd | None:
        """Who runs the server; None is ourselves. PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (uid := self.data.stat().st_uid):
            try:
                return pwd.getpwuid(uid)
            except KeyError as problem:
                sentence = "{place} 属于本机没有的用户({uid}):请用 chown -R 把它交给 postgres 或另一个普通用户。"
                raise Unavailable(said(sentence, place=self.place, uid=uid)) from problem
        for name in ("postgres", "jingwei"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        making = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "jingwei"]
        if subprocess.run(making, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
            sentence = "PostgreSQL 不能以 root 运行,又建不了用户 jingwei:请以普通用户运行。"
            raise Unavailable(said(sentence))
        return pwd.getpwnam("jingwei")

    def _run(self, arguments: list[str], written: str = "") -> subprocess.CompletedProcess[str]:
        # Files inside the place are touched by their owner only: as root we would follow what that user links.
        owner = self._owner
        try:
            return subprocess.run(
                arguments,
                cwd="/",
                env=_environment(),
                user=owner.pw_uid if owner else None,
                group=owner.pw_gid if owner else None,
                extra_groups=[] if owner else None,
                start_new_session=True,
                input=written,
                text=True,
                capture_output=True,
                check=False,
            )
        except PermissionError as problem:
            if owner is None:
                raise
            # A container may call us root and yet not let us become anybody else.
            sentence = "这里不允许换成用户 {user} 来运行数据库:请以普通用户运行,或用 JINGWEI_DATABASE_URL 指向已有的 PostGIS。"
            raise Unavailable(said(sentence, user=owner.pw_name)) from problem

    def _write(self, path: Path, text: str) -> None:
        done = self._run(["sh", "-c", 'umask 077; cat > "$0"', str(path)], text)
        if done.returncode:
            raise self._failed(done.stderr)

    def _settled(self) -> None:
        """Choose the place, and have it belong to the owner."""
        beside, owner = self.home / "cluster", self._owner
        if owner and not beside.is_symlink() and not beside.exists() and not self._enters(self.home):
            place = _ELSEWHERE / hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
            _ELSEWHERE.mkdir(mode=0o711, parents=True, exist_ok=True)
            beside.symlink_to(place)
            if place.exists():
                self._set_aside(place)
            sentence = "用户 {user} 进不了 {home},数据库放在 {place}。"
            self.say(said(sentence, user=owner.pw_name, home=self.home, place=place))
        if not self.place.exists():
            self.place.mkdir(mode=0o700)
            if owner:
                os.chown(self.place, owner.pw_uid, owner.pw_gid)
        if not self._enters(self.place):
            sentence = "用户 {user} 进不了 {place}:请放开上级目录的进入权限,或用 JINGWEI_HOME 另指一处。"
            user = owner.pw_name if owner else pwd.getpwuid(os.geteuid()).pw_name
            raise Unavailable(said(sentence, user=user, place=self.place))

    def _enters(self, folder: Path) -> bool:
        return self._run(["test", "-x", str(folder)]).returncode == 0

    def _set_aside(self, place: Path) -> None:
        # The home it belonged to is gone, and its passwords and field key with it; yet nobody said to destroy it.
        self._stopped()
        aside = place.with_name(f"{place.name}.{time.strftime('%Y%m%d%H%M%S')}")
        place.rename(aside)
        self.say(said("{place} 里有一个失去密钥的旧库,已移到 {aside}。", place=place, aside=aside))

    def _major(self) -> int:
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError) as problem:
            sentence = "{data} 不能读:请以原来的用户运行,或用 JINGWEI_HOME 另指一处。"
            raise Unavailable(said(sentence, data=self.data)) from problem

    def _made(self, binaries: Binaries, password: str) -> None:
        if self.data.exists():
            sentence = "{data} 不是完整的数据目录:请把它移走,再启动一次。"
            raise Unavailable(said(sentence, data=self.data))
        # Renamed when complete: whatever a killed first start leaves behind never held data and may go.
        fresh, secret = self.place / "data.new", self.place / "password"
        self._run(["rm", "-rf", str(fresh)])
        self._run(["mkdir", "-p", "-m", "700", str(self.log)])
        self._write(secret, password)
        options = ["--encoding=UTF8", "--locale=C.UTF-8", "--lc-messages=C", "--data-checksums", "--auth=scram-sha-256"]
        options += [f"--username={ADMIN}", f"--pwfile={secret}", "--no-instructions", f"--pgdata={fresh}"]
        done = self._run([str(binaries.folder / "initdb"), *options])
        self._run(["rm", "-f", str(secret)])
        if done.returncode:
            raise self._failed(done.stderr)
        field_key(self.home)
        included = 'echo "include_if_exists = \'jingwei.conf\'" >> "$0"/postgresql.conf && mv "$0" "$1"'
        done = self._run(["sh", "-c", included, str(fresh), str(self.data)])
        if done.returncode:
            raise self._failed(done.stderr)

    def _started(self, binaries: Binaries) -> Postmaster:
        opening = self.log / "start.log"
        patience = time.monotonic() + 15
        while True:
            port, sockets = self._port(), self._sockets()
            # The lock of a dead server's socket keeps a number that may be somebody else's by now, and the server
            # believes it. The folder is ours and, with nothing running on our data, so is whatever lies in it.
            self._run(["rm", "-f", *(str(sockets / f".s.PGSQL.{port}{end}") for end in ("", ".lock"))])
            self._write(self.data / "jingwei.conf", self._configuration(port, sockets))
            self._write(opening, "")
            command = [str(binaries.folder / "pg_ctl"), "start", "-s", "-w", "-t", "120"]
            try:
                done = self._run([*command, "-D", str(self.data), "-l", str(opening)])
            except BaseException:
                # Interrupted between fork and lock file, there would be nothing to stop yet.
                time.sleep(0.5)
                self._stopped()
                raise
            if (running := self._postmaster()) and done.returncode == 0:
                return running
            said_so = _read(opening)
            # A port taken since we looked; or the backends of a killed server, which need a moment to end.
            passing = "Address already in use" in said_so or "still in use" in said_so
            if not passing or time.monotonic() > patience:
                raise self._failed(said_so + _read(self._newest_log()) or done.stderr)
            time.sleep(0.5)

    def _proved(self, running: Postmaster, binaries: Binaries, passwords: Mapping[str, str]) -> Address:
        for attempt in ("as found", "restarted", "last"):
            address = self._address(running, passwords)
            url = address.url(ADMIN, "postgres")
            try:
                with psycopg.connect(url.set(drivername="postgresql").render_as_string(False)) as connection:
                    version = connection.info.parameter_status("server_version")
                if version == binaries.version or attempt != "as found":
                    return address
                sentence = "PostgreSQL 已从 {old} 升级到 {new},私有数据库随之重启。"
                self.say(said(sentence, old=version, new=binaries.version))
            except psycopg.OperationalError as problem:
                if attempt == "last":
                    raise self._failed(str(problem)) from problem
                if "password authentication failed" in str(problem):
                    self._stopped()
                    self._password_reset(binaries, passwords[ADMIN])
                    self.say(said("口令文件是新的,已重设 {login} 的口令。", login=ADMIN))
            self._stopped()
            running = self._started(binaries)
        raise AssertionError("the last attempt returns or raises")

    def _address(self, running: Postmaster, passwords: Mapping[str, str]) -> Address:
        reachable = (running.sockets / f".s.PGSQL.{running.port}").exists()
        place = {"host": str(running.sockets) if reachable else "127.0.0.1", "port": str(running.port)}
        url = URL.create("postgresql+psycopg", ADMIN, passwords[ADMIN], database=DATABASE, query=place)
        return Address(url, passwords)

    def _password_reset(self, binaries: Binaries, password: str) -> None:
        single = [str(binaries.folder / "postgres"), "--single", "-D", str(self.data), "postgres"]
        done = self._run(single, f"ALTER ROLE {ADMIN} PASSWORD '{password}'\n")
        if done.returncode:
            raise self._failed(done.stderr)

    def _stopped(self) -> None:
        running = self._postmaster()
        if running is None:
            return
        for how, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 10)):  # fast, then immediate
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, how)
            patience = time.monotonic() + seconds
            while time.monotonic() < patience:
                if self._postmaster() is None:
                    return
                time.sleep(0.05)
        sentence = "数据库进程 {pid} 停不下来:请看 {log}。"
        raise Unavailable(said(sentence, pid=running.pid, log=self.log))

    def _postmaster(self) -> Postmaster | None:
        """The server that runs on our data. A lock file left by a dead one is made harmless."""
        path = self.data / "postmaster.pid"
        try:
            lines = path.read_text().splitlines()
            pid, data, port, sockets = int(lines[0]), Path(lines[1]), int(lines[3]), Path(lines[4])
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        if Path(os.fsdecode(arguments[0])).name != "postgres" or os.fsencode(data) not in arguments:
            # After a reboot, or in a restarted container, the number soon belongs to somebody else, and the
            # server would refuse to start. With a dead number it makes its own checks, shared memory included.
            self._write(path, "\n".join([str(_NOBODY), *lines[1:]]) + "\n")
            return None
        if data != self.data and os.path.exists(data) and not os.path.samefile(data, self.data):
            sentence = "{ours} 是运行中的数据库 {theirs} 的副本:请先停下那一个,再复制一次。"
            raise Unavailable(said(sentence, ours=self.data, theirs=data))
        return Postmaster(pid, data, port, sockets)

    def _port(self) -> int:
        """The port kept in a file, or the next free one."""
        kept = self.place / "port"
        # Below 32768, where outgoing connections begin: one of those might hold the port while we are stopped.
        digest = hashlib.sha256(os.fsencode(self.home)).digest()
        first = 20_000 + int.from_bytes(digest[:2]) % 10_000
        if _read(kept).strip().isdigit():
            first = int(_read(kept))
        for port in range(first, first + 200):
            if _free(port):
                if port != first or not kept.exists():
                    self._write(kept, f"{port}\n")
                return port
        raise Unavailable(said("端口 {first}—{last} 都被占用:请先停下其中的程序。", first=first, last=first + 199))

    def _sockets(self) -> Path:
        folder = self.place / "socket"
        if len(os.fsencode(folder)) > _LONGEST_SOCKET_FOLDER:
            # The path cannot be long and the place must be ours alone: mkdir, never a folder found there.
            uid = self._owner.pw_uid if self._owner else os.geteuid()
            name = hashlib.sha256(os.fsencode(self.place)).hexdigest()[:12]
            folder = Path(f"/tmp/jingwei-{uid}-{name}")
            if folder.is_symlink() or (folder.exists() and folder.stat().st_uid != uid):
                raise Unavailable(said("{folder} 属于别的用户:请把它移走。", folder=folder))
        self._run(["mkdir", "-p", "-m", "700", str(folder)])
        return folder

    def _configuration(self, port: int, sockets: Path) -> str:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(sockets),
            "unix_socket_permissions": "0700",
            "password_encryption": "scram-sha-256",
            "max_connections": "100",
            "shared_buffers": "256MB",
            "work_mem": "16MB",
            "maintenance_work_mem": "256MB",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            # One 1.5 s join of this kind spent 1.0 s in the compiler.
            "jit": "off",
            "timezone": "Asia/Shanghai",
            "log_timezone": "Asia/Shanghai",
            "lc_messages": "C",
            "logging_collector": "on",
            "log_directory": str(self.log),
            "log_filename": "postgresql-%a.log",  # a week, each day written over the last one of its name
            "log_truncate_on_rotation": "on",
            "log_rotation_size": "0",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            # Values are people's: neither parameters nor "Failing row contains (…)" may reach the log.
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
            "log_error_verbosity": "terse",
        } | self.settings
        head = "# Written at each start; put your own settings into postgresql.auto.conf by ALTER SYSTEM.\n"
        return head + "".join(f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())

    def _newest_log(self) -> Path:
        logs = sorted(self.log.glob("postgresql-*.log"), key=lambda path: path.stat().st_mtime)
        return logs[-1] if logs else self.log / "start.log"

    def _failed(self, output: str) -> Unavailable:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"FATAL|PANIC|error:|No space|denied", line)] or lines or ["?"]
        if "No space left" in output:
            return Unavailable(said("{place} 所在的磁盘已满:请腾出空间再启动。", place=self.place))
        sentence = "私有数据库没有启动起来({reason}):请看 {log},或运行 jingwei doctor。"
        return Unavailable(said(sentence, reason=telling[-1], log=self.log))


def _environment() -> dict[str, str]:
    # PGPORT, PGDATA, PGOPTIONS … of the caller would point our tools at somebody else's server.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}


def _printed(command: list[str]) -> str:
    environment = _environment()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.stdout.decode(errors="replace").strip()


def _described(folder: Path) -> Binaries | None:
    found = re.search(r"\(PostgreSQL\) (\d.*)", _printed([str(folder / "postgres"), "--version"]))
    if not found or not (folder / "pg_ctl").exists():
        return None
    shared = _printed([str(folder / "pg_config"), "--sharedir"]) if (folder / "pg_config").exists() else ""
    places = [Path(shared)] if shared else [Path("/usr/share/postgresql", str(_numbers(found[1])[0]))]
    control = "".join(_read(place / "extension" / "postgis.control") for place in places)
    offered = re.search(r"default_version\s*=\s*'([^']+)'", control)
    return Binaries(folder, found[1], offered[1] if offered else None)


def _numbers(version: str) -> tuple[int, ...]:
    """`15.20 (Debian …)` → (15, 20); `17rc1` → (17,)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
