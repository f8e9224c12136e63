"""What goes out to the systems of others, beside the web processes: nothing at all unless the settings name a host."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import sqlalchemy as sa

from api.settings import Settings
from geo import db, webhooks
from geo.errors import GeoError, Invalid
from geo.keys import FieldKey, field_key
from geo.webhooks import Delivery, Hosts

log = logging.getLogger("jingwei")

TURN_SECONDS = 0.5
PATIENCE_SECONDS = 5.0


def beside(chosen: Settings, home: Path, url: sa.URL, over: threading.Event) -> threading.Thread | None:
    """A thread that sends until it is `over`; None where nobody is to be told anything. Its slowness holds up nothing of ours."""
    hosts = Hosts.of(chosen.webhook_hosts)
    if not hosts.names and not hosts.networks:
        return None
    thread = threading.Thread(target=_sending, args=(hosts, field_key(home), url, over), daemon=True, name="webhooks")
    thread.start()
    return thread


def _sending(hosts: Hosts, key: FieldKey, url: sa.URL, over: threading.Event) -> None:
    engine = db.engine(url, pool=1)
    while not over.wait(TURN_SECONDS):
        try:
            with db.translated():
                webhooks.gathered(engine)
                while not over.is_set() and sent(engine, hosts, key):
                    pass
        except GeoError as error:
            # The database may be restarting: what is in the outbox waits there.
            log.warning("webhooks: %s", error)
            over.wait(1)
    engine.dispose()


def sent(engine: sa.Engine, hosts: Hosts, key: FieldKey, clock: Callable[[], float] = time.time) -> int:
    """Send what is due of one system, until something is not taken. Returns how many were tried."""
    tried = 0
    for delivery in webhooks.claimed(engine, key):
        taken, answer = posted(delivery, hosts, clock())
        webhooks.answered(engine, delivery, taken, answer)
        tried += 1
        if not taken:
            break
    return tried


def posted(delivery: Delivery, hosts: Hosts, now: float) -> tuple[bool, str]:
    """Whether it was taken, and the status or what went wrong. The address that was looked at is the one connected to, and a redirect
    is not followed: what is allowed cannot lead elsewhere."""
    try:
        address = hosts.resolved(delivery.url)
    except Invalid:
        return False, "not allowed"
    parts = urlsplit(delivery.url)
    at = httpx2.URL(delivery.url).copy_with(host=address)
    headers = delivery.headers(now) | {"Host": parts.netloc}
    try:
        with httpx2.Client(timeout=PATIENCE_SECONDS, follow_redirects=False, trust_env=False) as client, client.stream(
            "POST", at, content=delivery.body, headers=headers, extensions={"sni_hostname": parts.hostname or ""}
        ) as answer:
            # What it says is not read: it may be endless.
            return 200 <= answer.status_code < 300, str(answer.status_code)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        return False, type(error).__name__
