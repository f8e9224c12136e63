"""`/webhooks`: which systems are told of cases, as the administrator of the system sets it, and what could not be delivered."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import models
from api.collections import PROBLEM
from api.deps import Connection, Key, able, noted, strict
from api.settings import settings
from geo import webhooks
from geo.webhooks import Hosts

PRIVATE = {"Cache-Control": "private, no-store"}

routes = APIRouter(prefix="/webhooks", tags=["webhooks"], responses=dict.fromkeys((400, 401, 403, 404, 422, 503), PROBLEM))


class New(BaseModel):
    """What is called, where it listens, of which area it is told, and which events."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[models.Text, Field(min_length=1, max_length=100)]
    url: Annotated[models.Text, Field(min_length=8, max_length=500)]
    scope: Annotated[str, Field(pattern="^[0-9A-Z]{1,40}$")]
    events: Annotated[list[Literal["reported", "moved", "closed", "changed"]], Field(min_length=1, max_length=4)]


@routes.post("", status_code=201, summary="Have a system told", dependencies=[able("accounts"), strict()])
def make(new: New, answer: Response, request: Request, connection: Connection, key: Key) -> dict[str, Any]:
    """From now on. Its host must be among those of the settings. The `secret` is shown this once: by it the receiver knows what is ours."""
    id, secret = webhooks.make(connection, new.title, new.url, new.scope, new.events, Hosts.of(settings().webhook_hosts), key)
    noted(request, "settings", purpose=f"webhook {id}")
    answer.headers.update(PRIVATE)
    return {"id": str(id), "secret": secret}


@routes.get("", summary="Which systems are told", dependencies=[able("accounts"), strict()])
def listed(answer: Response, connection: Connection) -> dict[str, Any]:
    """With how many deliveries of each wait, were taken, and are given up."""
    answer.headers.update(PRIVATE)
    return {"webhooks": webhooks.told(connection)}


@routes.delete("/{id}", status_code=204, summary="Tell a system nothing more", dependencies=[able("accounts"), strict()])
def end(id: UUID, request: Request, connection: Connection) -> Response:
    """What waits for it is given up."""
    webhooks.end(connection, id)
    noted(request, "settings", purpose=f"webhook {id} ended")
    return Response(status_code=204)


@routes.get("/deliveries", summary="What could not be delivered", dependencies=[able("accounts"), strict("dead", "limit")])
def deliveries(
    answer: Response, connection: Connection, dead: Annotated[bool, Query(description="what was given up, else what waits for another try")] = True,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """The last first, each with the last answer."""
    answer.headers.update(PRIVATE)
    return {"deliveries": webhooks.deliveries(connection, dead, limit)}


@routes.post("/deliveries/{id}/retry", status_code=202, summary="Deliver once more", dependencies=[able("accounts"), strict()])
def retry(id: UUID, connection: Connection) -> dict[str, str]:
    """What was given up, as if it were new."""
    webhooks.retry(connection, id)
    return {"id": str(id)}
