"""What the environment says."""

from functools import cache
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`JINGWEI_*` variables. `database_url` is the login that migrates; the server itself uses lesser ones."""

    model_config = SettingsConfigDict(env_prefix="JINGWEI_", use_attribute_docstrings=True)

    home: Path = Path(__file__).parents[1] / ".jingwei"
    """The folder of the private database, the keys and what is kept prepared."""
    port: int = 8000
    """The port that answers."""
    host: str = "127.0.0.1"
    """The address that answers. There are no accounts yet: other machines reach it through a proxy that asks who they are."""
    database_url: str | None = None
    """A PostGIS ≥ 3.3 on PostgreSQL ≥ 15 in place of the private one: `postgresql://user:password@host:port/database`."""
    workers: int = 1
    """Web processes."""
    demo: bool = False
    """In a container: load the sample town and serve it."""


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
