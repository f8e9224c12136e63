"""What the environment says."""

from functools import cache
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`JINGWEI_*` variables. `database_url` is the login that migrates; the server itself uses lesser ones."""

    model_config = SettingsConfigDict(env_prefix="JINGWEI_")

    home: Path = Path(__file__).parents[1] / ".jingwei"
    port: int = 8000
    host: str = "127.0.0.1"
    database_url: str | None = None
    workers: int = 1
    demo: bool = False


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
