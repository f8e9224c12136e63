"""The processes of a running server: some that answer, one that keeps time (clock, relay, sums, retention, anchors), and one that
takes files in (api/working.py)."""

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from api import exchanging
from api.app import create_app
from api.deps import Engines
from api.oidc import configured
from api.settings import settings
from geo import clocks, db, hub, photos, relay, retention, trail
from geo.cluster import reached
from geo.errors import GeoError, Unavailable
from geo.keys import field_key
from geo.terminal import said

log = logging.getLogger("jingwei")

RELAY_SECONDS = 0.15  # a write is a new version of its tiles within half a second
CLOCK_SECONDS = 30.0
SWEEP_SECONDS = 3600.0  # files of photos that are no more
ANCHOR_SECONDS = 3600.0  # what is cut from the end of the trail within it, no anchor shows


def web() -> FastAPI:
    """The application of one web process."""
    chosen = settings()
    address = reached(chosen.home)
    # Whatever is asked at the door is one statement, which needs no transaction around it: two turns less of every request.
    door = db.engine(address.url("jingwei_door")).execution_options(isolation_level="AUTOCOMMIT")
    engines = Engines(db.engine(address.url("jingwei_web")), door, db.engine(address.url("jingwei_trail"), pool=1))
    made = create_app(engines, field_key(chosen.home), chosen.home, configured(chosen))
    # What there is by now stays for as long as the process. To look through it for rubbish, again and again, was a tenth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return made


def serve(port: int, workers: int, host: str = "127.0.0.1") -> None:
    """Answer on `host:port` until interrupted. Raises `Unavailable` when the port is taken or settings do not go together."""
    free(host, port)
    configured(settings())
    # uvicorn ends gracefully and then raises the signal again: this way the worker is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with working():
        # uvloop sets TCP_NODELAY; without it every answer of a multi-process server takes 44 ms.
        uvicorn.run(
            "api.serving:web", factory=True, host=host, port=port, workers=workers if workers > 1 else None, loop="uvloop",
            access_log=False, log_level="warning", server_header=False, limit_concurrency=400, timeout_graceful_shutdown=5,
            # It would believe any process of this machine; whom to believe is a setting (api/app.py).
            proxy_headers=False,
        )


def free(host: str, port: int) -> None:
    """`Unavailable` when somebody else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sentence = "端口 {port} 已被占用:请停掉占用它的程序,或用 JINGWEI_PORT 换一个端口。"
            raise Unavailable(said(sentence, port=port)) from error


@contextmanager
def working() -> Iterator[None]:
    """The two worker processes beside the web processes."""
    workers = [subprocess.Popen([sys.executable, "-m", module], start_new_session=True) for module in ("api.serving", "api.working")]
    try:
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()


def anchored(engine: sa.Engine, home: Path) -> float:
    """Tell outside the database where the trail ends. Seconds until the next time: nothing else that the worker does waits
    for a file that cannot be written."""
    try:
        with db.translated():
            trail.anchored(engine, home)
    except GeoError as error:
        log.warning("anchors: %s", error)
        return CLOCK_SECONDS
    return ANCHOR_SECONDS


def work() -> None:
    """Relay, clock, the destruction of what is over and the trail's anchors, until told to stop or left alone by the process that
    started it."""
    parent = os.getppid()
    told: list[int] = []
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda number, _: told.append(number))
    home = settings().home
    engine: sa.Engine = db.engine(reached(home).url("jingwei_web"), pool=1)
    struck, anchoring, sweeping = 0.0, 0.0, time.monotonic() + SWEEP_SECONDS
    behind = False
    night: Iterator[object] | None = None
    over = threading.Event()
    sending = exchanging.beside(settings(), home, reached(home).url("jingwei_web"), over)
    while not told and os.getppid() == parent:
        try:
            with db.translated():
                relay.step(engine)
                relay.fold(engine)
                # A pass a turn while there is more to tell, so that what people write meanwhile is published as soon as ever.
                if behind or time.monotonic() - struck > CLOCK_SECONDS:
                    behind = clocks.sweep(engine).behind | hub.sweep(engine).behind
                if time.monotonic() - struck > CLOCK_SECONDS:
                    relay.strike(engine)
                    struck = time.monotonic()
                    if night is None and retention.awaited(engine):
                        night = retention.run(engine, home)
                # A stretch a turn, for the same reason.
                if night and next(night, None) is None:
                    retention.rested(engine)
                    night = None
                if time.monotonic() > sweeping:
                    sweeping = time.monotonic() + SWEEP_SECONDS
                    with engine.begin() as connection:
                        photos.swept(connection, home)
                if time.monotonic() > anchoring:
                    anchoring = time.monotonic() + anchored(engine, home)
        except GeoError as error:
            # The database may be restarting; what changed meanwhile waits in `changes`, and what is over stays over.
            log.warning("worker: %s", error)
            night = None
            time.sleep(1)
        time.sleep(RELAY_SECONDS)
    over.set()
    if sending:
        sending.join(exchanging.PATIENCE_SECONDS + 1)
    engine.dispose()


if __name__ == "__main__":
    work()
