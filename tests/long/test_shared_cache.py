"""A real cache in front of a real server: nginx, told to keep everything it is not forbidden to, and people who share it."""

import contextlib
import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from api import guard
from api.app import create_app
from api.deps import Engines
from api.limits import Limits
from geo import db
from geo.cluster import Address
from geo.keys import FieldKey
from tests.api.test_caching import Headers, addresses, peopled, tile_of, walked
from tests.conftest import Within

pytestmark = pytest.mark.long

# One process, which is whoever runs the test: as root a worker would become somebody who may not enter here.
CONFIGURATION = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; keepalive_requests 100000; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  proxy_cache_path {home}/cache keys_zone=shared:10m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection "";
      proxy_cache shared; proxy_cache_key $request_uri; proxy_cache_revalidate on; proxy_cache_methods GET HEAD;
      # What an answer does not say is decided as carelessly as can be.
      proxy_cache_valid any 10m; add_header X-Store $upstream_cache_status always;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program: installed, or unpacked from the distribution's package without being installed."""
    found = shutil.which("nginx")
    if found is None and shutil.which("apt-get"):
        place = tmp_path_factory.mktemp("nginx")
        subprocess.run(["apt-get", "download", "-q", "nginx"], cwd=place, capture_output=True, check=False)
        for package in place.glob("nginx_*.deb"):
            subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=place, check=True)
        unpacked = place / "usr/sbin/nginx"
        found = str(unpacked) if unpacked.exists() else None
    if found is None:
        pytest.skip("no nginx, and no package of it")
    return found


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answering(port: int) -> None:
    patience = time.monotonic() + 30
    while time.monotonic() < patience:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"nobody answers at {port}")


@pytest.fixture
def fronted(live: Address, key: FieldKey, nginx: str, tmp_path: Path) -> Iterator[tuple[Any, int, int]]:
    """The server over sockets, its port, and that of the cache in front of it."""
    app = create_app(Engines(*(db.engine(live.url(login)) for login in ("jingwei_web", "jingwei_door", "jingwei_trail"))), key)
    app.state.limits = Limits({})
    origin, port = free(), free()
    server = uvicorn.Server(uvicorn.Config(app, port=origin, log_level="warning", loop="uvloop", proxy_headers=False, timeout_keep_alive=60))
    thread = threading.Thread(target=server.run)
    thread.start()
    home = tmp_path / "nginx"
    home.mkdir()
    (home / "nginx.conf").write_text(CONFIGURATION.format(home=home, port=port, origin=origin))
    cache = subprocess.Popen([nginx, "-p", str(home), "-e", str(home / "error.log"), "-c", str(home / "nginx.conf")])
    try:
        answering(origin)
        answering(port)
        yield app, origin, port
    finally:
        cache.terminate()
        cache.wait(20)
        server.should_exit = True
        thread.join(20)


class Answer:
    """An answer as `walked` looks at it."""

    def __init__(self, status: int, content: bytes, store: str) -> None:
        self.status_code, self.content, self.store = status, content, store


@contextlib.contextmanager
def asking(port: int) -> Iterator[Callable[[str, Headers], Answer]]:
    """A client of one kept connection."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:

        def asked(url: str, headers: Headers) -> Answer:
            connection.request("GET", url, headers={"Host": "jingwei.test", **headers})
            told = connection.getresponse()
            return Answer(told.status, told.read(), told.headers.get("X-Store", ""))

        yield asked


def test_a_careless_cache_gives_nobody_what_is_anothers(
    fronted: tuple[Any, int, int], live_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, origin, port = fronted
    with live_engine.begin() as connection:
        people, ids, marks = peopled(connection, Within(connection, "jingwei_door"))
        urls = addresses(app, ids, tile_of(connection), marks)
    with asking(origin) as direct, asking(port) as cached:

        def through(url: str, headers: Headers) -> tuple[bytes, bool]:
            answer = cached(url, headers)
            return answer.content, answer.store in ("HIT", "REVALIDATED", "STALE", "UPDATING")

        answers, stored, foreign = walked(direct, through, urls, people)
        print(f"{answers} answers, {stored} from the store, {foreign} another's")
        assert foreign == 0
        assert answers > 1000
        assert stored > 50
        # And would, if the server did not say what is whose.
        monkeypatch.setattr(guard, "kept", lambda *_: "public, max-age=60")
        monkeypatch.setattr("api.deps.asked_who", lambda _: None)
        assert walked(direct, through, ["/collections/incidents/items?limit=7", "/collections/residents/items?limit=7"], people)[2] > 5
