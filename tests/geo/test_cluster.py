"""The private cluster: made once, by whoever comes first; started, stopped and explained in one sentence."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from geo.cluster import Address, Binaries, Cluster, chosen, installed, reached
from geo.errors import Unavailable
from geo.keys import field_key_path, logins_path

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
# A cluster that is thrown away need not survive a power cut.
HASTY = {"fsync": "off", "shared_buffers": "16MB"}
ENSURED = (
    "import sys; from pathlib import Path; from geo.cluster import Cluster;"
    " cluster = Cluster(Path(sys.argv[1]), print); print(cluster.ensure().url().render_as_string(False), flush=True)"
)


@contextlib.contextmanager
def _home(mode: int = 0o711) -> Iterator[Path]:
    """A home of its own, short enough for a socket; the cluster in it is stopped at the end, whatever happened."""
    home = Path(tempfile.mkdtemp(prefix="jingwei-", dir="/tmp"))
    home.chmod(mode)
    try:
        yield home
    finally:
        place = (home / "cluster").resolve()
        Cluster(home).stop()
        shutil.rmtree(home)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Cluster, list[str]]]:
    """A cluster that two processes wanted at the same moment, and the addresses they were told."""
    with _home() as home:
        both = [_process(sys.executable, ENSURED, home) for _ in range(2)]
        told = [process.communicate(timeout=60)[0].strip() for process in both]
        assert [process.returncode for process in both] == [0, 0]
        yield Cluster(home, settings=HASTY), told


@pytest.fixture
def cluster(made: tuple[Cluster, list[str]]) -> Cluster:
    """It, running."""
    made[0].ensure()
    return made[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which no server comes to run, so that nobody but us need enter it."""
    (tmp_path / "cluster" / "data").mkdir(parents=True)
    if AS_ROOT:
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
                folder.chmod(0o711)
    return tmp_path


def test_two_callers_get_the_same_cluster(made: tuple[Cluster, list[str]]) -> None:
    first, second = made[1]
    assert first == second != ""


def test_what_is_made_is_ours_alone(cluster: Cluster) -> None:
    with _connected(cluster.ensure()) as connection:
        shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in ("listen_addresses", "data_checksums", "jit")}
        assert shown == {"listen_addresses": ("127.0.0.1",), "data_checksums": ("on",), "jit": ("off",)}
        told = connection.execute("SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'template0'")
        assert told.fetchone() == ("UTF8", "C.UTF-8")
    assert cluster.data.stat().st_uid == Path(f"/proc/{_pid(cluster)}").stat().st_uid != 0
    for private in (cluster.place, cluster.data, logins_path(cluster.home), field_key_path(cluster.home)):
        assert private.stat().st_mode & 0o077 == 0
    passwords = _passwords(cluster)
    assert not (cluster.place / "password").exists()
    for log in cluster.log.iterdir():
        assert not any(password in log.read_text() for password in passwords)


def test_no_login_without_password(cluster: Cluster) -> None:
    url = cluster.ensure().url(database="postgres").set(drivername="postgresql", password="guessed")
    for host in (url.query["host"], "127.0.0.1"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.set(host=None, query=dict(url.query) | {"host": host}).render_as_string(False)).close()


def test_values_stay_out_of_the_log(cluster: Cluster) -> None:
    canary = secrets.token_hex(8)
    with _connected(cluster.ensure()) as connection:
        connection.execute("CREATE TEMP TABLE t (name text CHECK (length(name) < 9))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO t VALUES (%s)", [canary])

    def logs() -> str:
        return "".join(log.read_text() for log in cluster.log.iterdir())

    # Another process writes them.
    assert _within(10, lambda: "t_name_check" in logs())
    assert canary not in logs()


def test_the_second_call_changes_nothing_and_takes_no_time(cluster: Cluster) -> None:
    before, pid = cluster.ensure(), _pid(cluster)
    started = time.monotonic()
    again = cluster.ensure()
    # 0.05 s where it was written; a start takes 0.2 s.
    assert time.monotonic() - started < 2
    assert (again, _pid(cluster)) == (before, pid)


def test_stop_leaves_no_process(cluster: Cluster) -> None:
    family = _family(_pid(cluster))
    assert len(family) > 4
    cluster.stop()
    assert not cluster.running
    # The logger ends when nobody is left to write to it.
    assert _within(10, lambda: not any(map(_lives, family)))
    cluster.stop()


def test_a_port_taken_meanwhile_is_left_to_whoever_took_it(cluster: Cluster) -> None:
    kept = _port(cluster)
    cluster.stop()
    with socket.create_server(("127.0.0.1", kept)):
        cluster.ensure()
        assert _port(cluster) != kept
    moved = _port(cluster)
    cluster.stop()
    cluster.ensure()
    assert _port(cluster) == moved


@pytest.mark.parametrize("lock", ["postmaster.pid", "socket"])
def test_a_killed_server_starts_again_though_its_number_is_anothers(cluster: Cluster, lock: str) -> None:
    # PostgreSQL believes a lock whose number runs under its own user.
    other = subprocess.Popen(["sleep", "60"], user=cluster.data.stat().st_uid)
    locks = {"postmaster.pid": cluster.data / "postmaster.pid", "socket": cluster.place / "socket" / f".s.PGSQL.{_port(cluster)}.lock"}
    written, killed = locks[lock].read_text().splitlines(), _pid(cluster)
    os.kill(killed, signal.SIGKILL)
    assert _within(10, lambda: not _lives(killed))
    locks["socket"].unlink()
    locks[lock].write_text("\n".join([str(other.pid), *written[1:]]) + "\n")
    try:
        assert not cluster.running
        with _connected(cluster.ensure()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert _pid(cluster) != other.pid
    finally:
        other.kill()
        other.wait()


def test_lost_passwords_are_made_anew(made: tuple[Cluster, list[str]]) -> None:
    said: list[str] = []
    cluster = Cluster(made[0].home, said.append, HASTY)
    before = cluster.ensure()
    logins_path(cluster.home).unlink()
    after = cluster.ensure()
    assert before.passwords != after.passwords
    assert len(said) == 1
    assert "jingwei_admin" in said[0]
    with _connected(after):
        pass


def test_a_server_upgraded_while_it_ran_is_started_anew(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    before, ours = _pid(cluster), installed()[0]
    monkeypatch.setattr("geo.cluster.installed", lambda: [replace(ours, version=f"{ours.major}.99 (Debian)")])
    with _connected(Cluster(cluster.home, said.append, HASTY).ensure()):
        pass
    assert _pid(cluster) != before
    assert [f"升级到 {ours.major}.99" in sentence for sentence in said] == [True]


def test_lost_keys_are_not(cluster: Cluster) -> None:
    key = field_key_path(cluster.home)
    aside = key.rename(key.with_suffix(".aside"))
    with pytest.raises(Unavailable, match=r"字段密钥.*备份"):
        cluster.ensure()
    aside.rename(key)


def test_a_half_made_data_folder_goes_or_is_explained(home: Path) -> None:
    with pytest.raises(Unavailable, match=rf"{home}/cluster/data 不是完整的数据目录:请把它移走"):
        Cluster(home).ensure()
    assert not Cluster(home).running


def test_data_of_a_version_that_is_not_installed(home: Path) -> None:
    (home / "cluster" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(Unavailable, match=r"属于 PostgreSQL 9,本机只有 .*请安装 postgresql-9"):
        Cluster(home).ensure()


@pytest.mark.skipif(not AS_ROOT, reason="only root gives folders away")
def test_data_of_a_user_that_is_not_here(home: Path) -> None:
    os.chown(home / "cluster" / "data", 54321, 54321)
    with pytest.raises(Unavailable, match=r"属于本机没有的用户.54321.:请用 chown"):
        Cluster(home).ensure()


@pytest.mark.skipif(not AS_ROOT, reason="only root becomes somebody else")
def test_a_root_that_may_become_nobody_else() -> None:
    with _home() as home:
        held = ["setpriv", "--bounding-set=-setuid,-setgid", sys.executable, "-c", ENSURED, str(home)]
        done = subprocess.run(held, cwd=ROOT, env=os.environ | {"LC_ALL": "C.UTF-8"}, capture_output=True, text=True)
        assert done.returncode != 0
        assert "请以普通用户运行" in done.stderr


FIFTEEN = Binaries(Path("/15"), "15.20 (Debian)", "3.3.2")
SEVENTEEN = Binaries(Path("/17"), "17rc1", "3.5.0")


def test_the_newest_that_fits_is_chosen() -> None:
    bare = Binaries(Path("/18"), "18.1", None)
    assert chosen([bare, SEVENTEEN, FIFTEEN]) is SEVENTEEN
    assert chosen([bare, SEVENTEEN, FIFTEEN], major=15) is FIFTEEN
    assert any(server.fit for server in installed())


@pytest.mark.parametrize(
    ("servers", "major", "sentence"),
    [
        ([], None, "没有找到 PostgreSQL 15"),
        ([], 15, "没有找到 PostgreSQL 15"),
        ([Binaries(Path("/13"), "13.9", "3.3.2")], None, "没有找到 PostgreSQL 15"),
        ([Binaries(Path("/15"), "15.20", None)], None, "请安装 postgresql-15-postgis-3"),
        ([Binaries(Path("/15"), "15.20", "3.2.9")], None, "请安装 postgresql-15-postgis-3"),
        ([SEVENTEEN], 15, "属于 PostgreSQL 15,本机只有 17rc1"),
    ],
)
def test_what_is_missing_is_named(servers: list[Binaries], major: int | None, sentence: str) -> None:
    with pytest.raises(Unavailable, match=sentence):
        chosen(servers, major, Path("/data"))


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"JINGWEI_DATABASE_URL": "nonsense"}, "不是 PostgreSQL 地址"),
        ({"JINGWEI_DATABASE_URL": "mysql://a@b/c"}, "不是 PostgreSQL 地址"),
        ({"JINGWEI_DATABASE_URL": "postgresql://a@b/c", "JINGWEI_DATABASE_PASSWORD_FILE": "/nowhere"}, "/nowhere 不能读"),
    ],
)
def test_a_wrong_address_is_explained(tmp_path: Path, environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(Unavailable, match=sentence):
        reached(tmp_path, environ)


def test_a_given_database_is_taken_and_nothing_started(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a b:c/d\n")
    environ = {"JINGWEI_DATABASE_URL": "postgres://x@h:5/d", "JINGWEI_DATABASE_PASSWORD_FILE": str(tmp_path / "password")}
    address = reached(tmp_path, environ)
    assert address.url().render_as_string(False) == "postgresql+psycopg://x:a b%3Ac%2Fd@h:5/d"
    assert address.url("jingwei_web").username == "jingwei_web"
    assert not (tmp_path / "cluster").exists()
    assert "password" not in repr(address).replace("passwords", "")


@pytest.mark.skipif(not AS_ROOT, reason="only root starts the server as somebody else")
def test_a_home_closed_to_the_database_user_keeps_its_data_elsewhere() -> None:
    said: list[str] = []
    with _home(mode=0o700) as home:
        cluster = Cluster(home, said.append, HASTY)
        with _connected(cluster.ensure()):
            pass
        assert (home / "cluster").is_symlink()
        assert cluster.place.parent == Path("/var/lib/jingwei")
        assert [str(cluster.place) in sentence for sentence in said] == [True]
        assert home.stat().st_mode & 0o777 == 0o700, "nobody opened the home instead"


@pytest.mark.skipif(not AS_ROOT, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_needs_nobody_else() -> None:
    name = f"jw{secrets.token_hex(4)}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
    try:
        user = pwd.getpwnam(name)
        python = next((p for p in (sys.executable, "/usr/bin/python3") if _may_run(p, user)), None)
        if python is None:
            pytest.skip("an ordinary user of this machine may not read the checkout or the interpreter")
        # Too long for a socket, as the folders of people's desktops are.
        home = Path(user.pw_dir) / ("很长的目录名" * 6)
        code = ENSURED + "; print(cluster.data.stat().st_uid); cluster.stop(); print(cluster.running)"
        process = _process(python, code, home, user)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.splitlines()[-2:] == [str(user.pw_uid), "False"]
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)
        for folder in Path("/tmp").glob(f"jingwei-{user.pw_uid}-*"):
            shutil.rmtree(folder)


def _process(
    python: str, code: str, home: Path, user: pwd.struct_passwd | None = None
) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(ROOT), *site.getsitepackages()])
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    as_whom = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    return subprocess.Popen(
        [python, "-c", code, str(home)], cwd="/", env=environ, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **as_whom,  # type: ignore[call-overload]
    )


def _may_run(python: str, user: pwd.struct_passwd) -> bool:
    same = f"import sys, geo.cluster; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        process = _process(python, same, Path("/"), user)
    except OSError:
        return False
    process.communicate()
    return process.returncode == 0


def _connected(address: Address) -> "psycopg.Connection[tuple[object, ...]]":
    url = address.url(database="postgres").set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False))


def _pid(cluster: Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().splitlines()[0])


def _port(cluster: Cluster) -> int:
    return int((cluster.place / "port").read_text())


def _passwords(cluster: Cluster) -> list[str]:
    return list(cluster.ensure().passwords.values())


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    patience = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < patience:
        time.sleep(0.05)
    return met


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _family(pid: int) -> list[int]:
    """A process and its children."""
    children = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(stat.parent.name))
    return children
