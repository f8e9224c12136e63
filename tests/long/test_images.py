"""The images are built and run: a database made, migrated, served, asked through TLS.

With a container engine when one answers, else with buildah in a chroot, as root, on a base from the distribution
itself. Containers share the host's network here; everything they keep lies in folders that stand for the volumes.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("db", "app", "proxy")
BASE = "docker.io/library/debian:bookworm-slim"
RELEASES = ("bookworm", "bookworm-updates", "bookworm-security")
# Folder of a volume: where it is mounted, owner, group. The numbers are those of the Dockerfile, and Debian's for www-data.
VOLUMES = {
    "database": ("/var/lib/postgresql", 10002, 10002),
    "secrets": ("/var/lib/jingwei-secrets", 10002, 10001),
    "home": ("/var/lib/jingwei", 10001, 10001),
    "tls": ("/var/lib/jingwei-tls", 33, 33),
}
MOUNTED = {"db": ("database", "secrets"), "app": ("home", "secrets"), "proxy": ("tls",)}

pytestmark = pytest.mark.long


class Docker:
    """Images by an engine."""

    def __init__(self, work: Path) -> None:
        self.work, self.started = work, list[str]()

    def build(self, target: str) -> None:
        _done(["docker", "build", "--quiet", "--target", target, "--tag", f"jingwei-test-{target}", str(ROOT)])

    def command(self, target: str, environ: Mapping[str, str], *words: str) -> list[str]:
        name = f"jingwei-test-{target}-{os.getpid()}-{len(self.started)}"
        self.started.append(name)
        told = [f"--env={key}={value}" for key, value in environ.items()]
        folders = [f"--volume={self.work / name}:{VOLUMES[name][0]}" for name in MOUNTED[target]]
        kept = ["docker", "run", "--rm", "--network=host", f"--name={name}", *told, *folders]
        return [*kept, f"jingwei-test-{target}", *words]

    def end(self, process: "subprocess.Popen[bytes]", with_signal: signal.Signals) -> None:
        name = process.args[4].removeprefix("--name=")  # type: ignore[index,union-attr]
        _done(["docker", "stop", name])

    def close(self) -> None:
        for target in TARGETS:
            subprocess.run(["docker", "rmi", "--force", f"jingwei-test-{target}"], capture_output=True)


class Buildah:
    """Images without an engine: each step in a chroot, on a base made by debootstrap."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.tool = ["buildah", f"--root={work / 'storage'}", f"--runroot={work / 'run'}"]
        self.containers = dict[str, str]()
        self.mirrored = _mirrored(work)
        self._based()

    def _based(self) -> None:
        base = self.work / "base"
        _done(["debootstrap", "--variant=minbase", "bookworm", str(base), *filter(None, [_archives().get("bookworm")])])
        empty = _done([*self.tool, "from", "scratch"])
        _done([*self.tool, "add", "--quiet", empty, str(base), "/"])
        _done([*self.tool, "commit", "--quiet", "--rm", empty, BASE])
        shutil.rmtree(base)

    def build(self, target: str) -> None:
        how = ["--isolation=chroot", "--pull-never", "--layers", "--format=docker", f"--target={target}"]
        _done([*self.tool, "build", *how, *self.mirrored, f"--tag=localhost/jingwei-test-{target}", str(ROOT)])
        self.containers[target] = _done([*self.tool, "from", "--pull-never", f"localhost/jingwei-test-{target}"])

    def command(self, target: str, environ: Mapping[str, str], *words: str) -> list[str]:
        told = [f"--env={key}={value}" for key, value in environ.items()]
        folders = [f"--volume={self.work / name}:{VOLUMES[name][0]}" for name in MOUNTED[target]]
        words = words or ("start",)
        return [*self.tool, "run", "--isolation=chroot", *told, *folders, self.containers[target], "--", *words]

    def end(self, process: "subprocess.Popen[bytes]", with_signal: signal.Signals) -> None:
        # A signal to buildah would end the chroot's keeper and leave what runs in it.
        for pid in _descendants(process.pid):
            # Gone meanwhile: of several told to end, the first takes others with it.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if "buildah" not in Path(f"/proc/{pid}/comm").read_text():
                    os.kill(pid, with_signal)

    def close(self) -> None:
        subprocess.run([*self.tool, "rm", "--all"], capture_output=True)
        subprocess.run([*self.tool, "rmi", "--all", "--force"], capture_output=True)


@dataclass(frozen=True)
class Town:
    """What runs: the ports of database, app, TLS and plain HTTP, and the folders of the volumes."""

    engine: Docker | Buildah
    work: Path
    ports: Mapping[str, int]

    def environ(self, target: str) -> dict[str, str]:
        """What compose gives the service, with the ports of this test."""
        database, app = self.ports["database"], self.ports["app"]
        return {
            "db": {"PGPORT": str(database)},
            "app": {
                "JINGWEI_DATABASE_URL": f"postgresql://jingwei_admin@127.0.0.1:{database}/jingwei",
                "JINGWEI_DATABASE_PASSWORD_FILE": "/var/lib/jingwei-secrets/database-password",
                "JINGWEI_HOST": "127.0.0.1",
                "JINGWEI_PORT": str(app),
            },
            "proxy": {"JINGWEI_APP": f"127.0.0.1:{app}", "JINGWEI_HTTPS_PORT": "8443", "JINGWEI_NAMES": "localhost 127.0.0.1"},
        }[target]

    def run(self, target: str, *words: str) -> str:
        """The output of one command in an image."""
        return _done(self.engine.command(target, self.environ(target), *words))

    @contextlib.contextmanager
    def running(self, target: str, with_signal: signal.Signals, *words: str) -> Iterator[None]:
        """The processes of an image, and whether they end when they are told to."""
        log = self.work / f"{target}.log"
        with log.open("ab") as output:
            command = self.engine.command(target, self.environ(target), *words)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            self._healthy(target, process)
            yield
        finally:
            self.engine.end(process, with_signal)
            process.wait(30)

    def _healthy(self, target: str, process: "subprocess.Popen[bytes]", seconds: float = 120) -> None:
        patience = time.monotonic() + seconds
        while time.monotonic() < patience:
            check = self.engine.command(target, self.environ(target), "healthy")
            if subprocess.run(check, capture_output=True).returncode == 0:
                return
            if process.poll() is not None:
                break
            time.sleep(0.5)
        logs = "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(self.work.glob("*.log")))
        pytest.fail(f"{target} did not become healthy\n{logs}")

    def authority(self) -> ssl.SSLContext:
        """Trust in the certificate that the proxy made for itself, and in no other."""
        return ssl.create_default_context(cadata=(self.work / "tls" / "authority.pem").read_text())


@pytest.fixture(scope="module")
def images() -> Iterator[Town]:
    """The three images, built, with empty volumes."""
    # Not below a folder in memory: the layers take 4 GB.
    work = Path("/var/tmp") / f"jingwei-images-{os.getpid()}"
    work.mkdir(mode=0o755)
    engine: Docker | Buildah | None = None
    try:
        engine = _engine(work)
        for target in TARGETS:
            engine.build(target)
        for name, (_, owner, group) in VOLUMES.items():
            (work / name).mkdir(mode=0o750)
            os.chown(work / name, owner, group)
        yield Town(engine, work, {"database": _free(), "app": _free(), "tls": 8443, "plain": 8080})
    finally:
        if engine:
            engine.close()
        shutil.rmtree(work)


@pytest.fixture(scope="module")
def town(images: Town) -> Iterator[Town]:
    """Everything running, as compose would start it: database, app, proxy."""
    for port in (images.ports["tls"], images.ports["plain"]):
        if not _bindable(port):
            pytest.skip(f"port {port} is taken, and the proxy's port inside its image is fixed")
    with (
        images.running("db", signal.SIGINT, "start", "-c", "listen_addresses=127.0.0.1"),
        images.running("app", signal.SIGTERM),
        images.running("proxy", signal.SIGQUIT),
    ):
        yield images


@pytest.mark.parametrize("path", ["/", "/collections/areas/items"])
def test_an_image_migrates_serves_and_answers(town: Town, path: str) -> None:
    with urlopen(f"http://127.0.0.1:{town.ports['app']}{path}", timeout=10) as answer:
        assert answer.status == 200
        assert json.load(answer)["links"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_proxy_answers_with_a_certificate_of_its_own(town: Town, name: str) -> None:
    address = f"https://{name}:{town.ports['tls']}/"
    with urlopen(address, timeout=10, context=town.authority()) as answer:
        assert answer.status == 200
        assert answer.headers["content-security-policy"], "what the app says of safety arrives"
    with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urlopen(address, timeout=10)


def test_links_name_the_address_that_was_asked(town: Town) -> None:
    with urlopen(f"https://localhost:{town.ports['tls']}/collections", timeout=10, context=town.authority()) as answer:
        absolute = [link["href"] for link in json.load(answer)["links"] if "://" in link["href"]]
    assert all(href.startswith(f"https://localhost:{town.ports['tls']}/") for href in absolute), absolute


def test_plain_http_leads_to_https(town: Town) -> None:
    with contextlib.closing(http.client.HTTPConnection("localhost", town.ports["plain"], timeout=10)) as connection:
        connection.request("GET", "/collections?f=json")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["location"]) == (308, "https://localhost:8443/collections?f=json")


@pytest.mark.parametrize("beginning", [b"GET / HT", b"POST /collections/areas/items HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"])
def test_a_client_that_stops_talking_is_let_go(town: Town, beginning: bytes) -> None:
    plain = socket.create_connection(("127.0.0.1", town.ports["tls"]), 10)
    with town.authority().wrap_socket(plain, server_hostname="localhost") as slow:
        slow.settimeout(25)
        slow.sendall(beginning)
        with contextlib.suppress(ConnectionResetError):
            while slow.recv(4096):
                pass


def test_the_doctor_finds_the_database_well(town: Town) -> None:
    done = subprocess.run(town.engine.command("app", town.environ("app"), "jingwei", "doctor"), capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if "数据库" in line]
    assert len(told) >= 5
    assert all(line.startswith("✓") for line in told), done.stdout


def test_the_password_lies_in_a_file_for_two_and_nowhere_else(town: Town) -> None:
    kept = town.work / "secrets" / "database-password"
    assert (kept.stat().st_mode & 0o777, kept.stat().st_uid, kept.stat().st_gid) == (0o640, 10002, 10001)
    password = kept.read_text().strip()
    for log in town.work.glob("*.log"):
        assert password not in log.read_text()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(password.encode() in command for command in commands)


@pytest.mark.parametrize("target", TARGETS)
def test_no_image_runs_as_root_or_brings_a_secret(images: Town, target: str) -> None:
    assert images.run(target, "id", "-u") in ("10001", "10002", "33")
    brought = images.run(target, "sh", "-c", "find / -xdev ( -name '*.key' -o -name 'logins.json' -o -name .git -o -name node_modules ) "
                         "-not -path '/proc/*' 2>/dev/null || true".replace("(", "\\(").replace(")", "\\)"))
    assert brought == ""


def test_the_app_image_holds_what_it_serves(images: Town) -> None:
    wanted = ["maps/assets/vendor/leaflet/leaflet.js", "maps/assets/vendor/htmx/htmx.min.js", "data/sample/load.toml", "data/codes", "LICENSE"]
    images.run("app", "sh", "-c", "cd /opt/jingwei && ls -d " + " ".join(wanted))
    # What runs cannot rewrite itself.
    assert images.run("app", "sh", "-c", "find /opt/jingwei -writable -not -type l | head -n 3") == ""


def _engine(work: Path) -> Docker | Buildah:
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        return Docker(work)
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"no container engine answers, and without one this needs root, buildah and debootstrap (missing: {missing})")
    return Buildah(work)


def _mirrored(work: Path) -> list[str]:
    """The package sources of this machine, for the build alone: nothing of them enters a layer."""
    authorities = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    folders = {authorities: "/mnt/authorities.pem"}
    told = {
        "/etc/pip.conf": _pip(),
        "/root/.npmrc": _npm(),
        "/etc/apt/apt.conf.d/99machine": [line for line in _output("apt-config", "dump") if line.startswith("Acquire::")],
    }
    if sources := _archives():
        told["/etc/apt/sources.list"] = [f"deb {place} {release} main" for release, place in sources.items()]
    for place, lines in told.items():
        source = work / Path(place).name
        source.write_text("\n".join(lines) + "\n")
        folders[source] = place
    return [f"--volume={source}:{place}:ro" for source, place in folders.items()]


def _pip() -> list[str]:
    listed = _output(sys.executable, "-m", "pip", "config", "list")
    known = dict(line.split(".", 1)[1].split("=", 1) for line in listed if "=" in line)
    passed = {name: value.strip("'") for name, value in known.items() if name in ("index-url", "trusted-host", "proxy")}
    return ["[global]", "cert = /mnt/authorities.pem", *(f"{name} = {value}" for name, value in passed.items())]


def _npm() -> list[str]:
    registry = _output("npm", "config", "get", "registry")
    return ["cafile=/mnt/authorities.pem", *(f"registry={line}" for line in registry if line.startswith("http"))]


def _archives() -> dict[str, str]:
    """Release → where this machine gets it from, if it runs the same distribution; debootstrap knows the public place."""
    listed = _output("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages")
    known = dict(line.split(" ", 1) for line in reversed(listed))
    return {release: place for release, place in known.items() if release in RELEASES}


def _output(*command: str) -> list[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.splitlines()


def _descendants(pid: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the parent is the second word behind it.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, generation = list[int](), [pid]
    while generation := [child for child, parent in parents.items() if parent in generation]:
        found += generation
    return found


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _done(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout.strip()
