"""The application, put together."""

import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import (
    addresses,
    alias_pages,
    asking,
    case_pages,
    collections,
    control,
    description,
    desk,
    docs,
    door,
    entrance,
    errors,
    exports,
    hotline,
    hub,
    incidents,
    indicators,
    layers,
    leader,
    live,
    locating,
    observations,
    oidc,
    open311,
    pages,
    people,
    photos,
    public,
    redrawing,
    reporting,
    retention,
    rights_requests,
    schemas,
    templates,
    tiles,
    tilesets,
    times,
    topology,
    unmasking,
    upload_pages,
    uploads,
    webhooks,
)
from api.deps import AT_ONCE, ENTERING, HEAVY, Engines, Instance
from api.guard import Guarded
from api.limits import Limits
from api.settings import settings
from api.shelf import Ready, Shelf, watch
from geo import db
from geo.catalog import RESOURCES
from geo.keys import FieldKey

BODY = 1_000_000  # bytes of a JSON request; files go through the intake


def create_app(engines: Engines, key: FieldKey, home: Path | None = None, provider: oidc.Provider | None = None) -> FastAPI:
    """The server over three logins of a migrated database; `home` is where it keeps what lies outside of that, and people may
    also sign in by `provider`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # A connection of its own: when all the others are at work, what is ready is needed most.
        over, looking = threading.Event(), db.engine(engines.web.url, pool=1)
        watching = threading.Thread(target=watch, args=(app.state.shelf, looking, over), daemon=True)
        watching.start()
        yield
        over.set()
        watching.join()
        for engine in (engines.web, engines.door, engines.trail, looking):
            engine.dispose()

    app = FastAPI(
        title="经纬 Jingwei", version="0.1.0", docs_url=None, redoc_url=None, openapi_url="/api", lifespan=lifespan,
        description="A spatial governance server: areas, what is in them, what was reported, who answers, what is closed.",
    )
    app.state.engines = engines
    app.state.turns = anyio.Semaphore(AT_ONCE)
    app.state.heavy = anyio.Semaphore(HEAVY)
    app.state.entering = anyio.Semaphore(ENTERING)
    app.state.receiving, app.state.developing = anyio.Semaphore(photos.RECEIVING), anyio.Semaphore(photos.DEVELOPING)
    app.state.outside = anyio.CapacityLimiter(oidc.OUTSIDE)
    app.state.limits = Limits()
    app.state.streams, app.state.relayed = 0, live.Shared()
    app.state.shelf = Shelf()
    app.state.provider = provider
    app.state.oidc = provider.title if provider else ""
    app.state.field_key = key
    app.state.home = home or settings().home
    app.state.instance = instance(engines)
    errors.install(app)
    app.include_router(collections.catalogue)
    app.include_router(schemas.routes)
    # Routers are looked through in turn, 0.02 ms each: what people send all day comes before what somebody looks after once a year.
    for resource in sorted(RESOURCES.values(), key=lambda one: not one.owned):
        app.include_router(collections.router(resource))
        if of_noun := unmasking.router(resource):
            app.include_router(of_noun)
    app.include_router(door.routes)
    app.include_router(oidc.routes)
    app.include_router(locating.routes)
    app.include_router(asking.routes)
    app.include_router(addresses.routes)
    app.include_router(alias_pages.routes)
    app.include_router(control.routes)
    app.include_router(topology.routes)
    app.include_router(redrawing.routes)
    app.include_router(times.routes)
    app.include_router(rights_requests.routes)
    app.include_router(retention.routes)
    app.include_router(reporting.routes)
    app.include_router(case_pages.files)
    app.include_router(case_pages.routes)
    app.include_router(incidents.routes)
    app.include_router(hub.routes)
    app.include_router(photos.routes)
    app.include_router(public.routes)
    app.include_router(live.routes)
    app.include_router(open311.routes)
    app.include_router(hotline.routes)
    app.include_router(observations.routes)
    app.include_router(webhooks.routes)
    app.include_router(indicators.routes)
    app.include_router(unmasking.routes)
    app.include_router(exports.routes)
    app.include_router(uploads.routes)
    app.include_router(templates.routes)
    app.include_router(upload_pages.routes)
    app.include_router(desk.routes)
    app.include_router(layers.routes)
    app.include_router(tiles.routes)
    app.include_router(tilesets.routes)
    app.include_router(docs.routes)
    app.include_router(entrance.routes)
    app.include_router(people.routes)
    app.include_router(leader.routes)
    pages.install(app)
    description.install(app)
    app.add_middleware(Bounded)
    app.add_middleware(Guarded)
    app.add_middleware(Ready, state=app.state)
    if proxies := settings().trusted_proxies:
        # Outermost: from here on a request comes from whom the proxy says.
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return app


def instance(engines: Engines) -> Instance:
    """Who this server is, as the database says."""
    with engines.web.begin() as connection:
        connection.execute(sa.text("SELECT set_config('role', 'jingwei_public', true)"))
        row = connection.execute(sa.text("SELECT id, name, prefix, demo, k FROM instance")).one()
    return Instance(row.id, row.name, row.prefix, row.demo, row.k)


class Bounded:
    """Refuse a body over the bound before it is read into memory, whether or not it says its length."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or _a_file(scope):
            # A file is written to the disk as it comes, a photo held apart; each is counted there (api/uploads.py, api/photos.py).
            await self.app(scope, receive, send)
            return
        taken = 0
        request = Request(scope)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY:
            await _too_large(request)(scope, receive, send)
            return
        chunks = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            taken += len(message.get("body", b""))
            if taken > BODY:
                await _too_large(request)(scope, receive, send)
                return
            chunks.append(message)
            if not message.get("more_body"):
                break
        kept = iter(chunks)

        async def replayed() -> Any:
            return next(kept, None) or await receive()

        await self.app(scope, replayed, send)


PHOTOGRAPHED = re.compile("/(?:reports|incidents)/[^/]+/photos")


def _a_file(scope: Any) -> bool:
    method, path = scope["method"], scope["path"]
    if method == "PUT":
        return bool(path.startswith("/partial_uploads/"))
    return method == "POST" and (path in ("/uploads", "/report") or bool(PHOTOGRAPHED.fullmatch(path)))


def _too_large(request: Request) -> Response:
    from geo.errors import TooLarge

    return errors.problem(request, 413, TooLarge.slug(), TooLarge.__doc__ or "", TooLarge.__doc__ or "", {"limit": BODY})
