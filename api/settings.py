"""What the environment says."""

from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`JINGWEI_*` variables. `database_url` is the login that migrates; the server itself uses lesser ones."""

    model_config = SettingsConfigDict(env_prefix="JINGWEI_", use_attribute_docstrings=True)

    home: Path = Path(__file__).parents[1] / ".jingwei"
    """The folder of the private database, the keys and what is kept prepared."""
    port: int = 8000
    """The port that answers."""
    host: str = "127.0.0.1"
    """The address that answers. Other machines reach it through a proxy that brings TLS."""
    base_url: str = ""
    """Where people find it, such as `https://jingwei.example`. Without one, this host and port."""
    database_url: str | None = None
    """A PostGIS ≥ 3.3 on PostgreSQL ≥ 15 in place of the private one: `postgresql://user:password@host:port/database`."""
    workers: int = 1
    """Web processes."""
    demo: bool = False
    """In a container: load the sample town and serve it."""


    @property
    def own_url(self) -> str:
        """Where people find this server."""
        return self.base_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether cookies are for TLS only: always, but on the machine itself."""
        parts = urlsplit(self.own_url)
        return not (parts.scheme == "http" and loopback(parts.hostname or ""))


def loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
