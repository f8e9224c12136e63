"""The process that takes files in: one upload at a time, as the loader, for as long as the process that started it lives."""

import logging
import os
import signal
import threading
import time
from uuid import UUID

import procrastinate

from api.settings import settings
from geo import db, intake, jobs
from geo.cluster import reached
from geo.keys import field_key
from geo.receiving import Working

log = logging.getLogger("jingwei")

QUEUE = "uploads"
NICE = 10


def jobs_of(app: procrastinate.App, working: Working) -> None:
    """The verbs of `Working` as jobs, under the names that `job_deferred` uses."""

    def job(name: str) -> None:
        def run(upload: str) -> None:
            try:
                getattr(working, name)(UUID(upload))
            except Exception:
                working.failed(UUID(upload))
                raise

        app.task(name=name, queue=QUEUE)(run)

    for name in ("read", "apply", "undo", "clear"):
        job(name)

    @app.periodic(cron="*/10 * * * *")
    @app.task(name="clear_over", queue=QUEUE, queueing_lock="clear_over")
    def clear_over(timestamp: int) -> None:
        working.clear()

    @app.periodic(cron="* * * * *")
    @app.task(name="revive", queue=QUEUE, queueing_lock="revive")
    async def revive(timestamp: int) -> None:
        # A worker that was killed leaves its job begun; each does its work once, however often it is begun.
        for stalled in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(stalled)


def work() -> None:
    """Take jobs until told to stop or left alone."""
    parent = os.getppid()

    def watched() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watched, daemon=True).start()
    # Whoever waits for a page goes before whoever waits for a file.
    os.nice(NICE)
    intake.prepared()
    home = settings().home
    address = reached(home)
    engine = db.engine(address.url("jingwei_loader"), pool=2)
    app = jobs.app(address.url("jingwei_loader"))
    jobs_of(app, Working(engine, field_key(home), home))
    app.run_worker(queues=[QUEUE], concurrency=1, delete_jobs="successful", fetch_job_polling_interval=2.0, shutdown_graceful_timeout=5)
    engine.dispose()


if __name__ == "__main__":
    work()
