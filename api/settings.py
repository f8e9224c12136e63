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
    """Where people find it, such as `https://jingwei.example`: pages of no other address may write. Without one, this host and port."""
    database_url: str | None = None
    """A PostGIS ≥ 3.3 on PostgreSQL ≥ 15 in place of the private one: `postgresql://user:password@host:port/database`."""
    workers: int = 1
    """Web processes."""
    upload_bytes: int = 2_000_000_000
    """The largest file that is taken in."""
    demo: bool = False
    """In a container: load the sample town and serve it."""
    trusted_proxies: str = ""
    """Addresses or networks, with commas between, of proxies that are believed who asks and whether by TLS (`X-Forwarded-For`, `X-Forwarded-Proto`); `*` where nobody else can reach the port."""
    oidc_issuer: str = ""
    """The place's own identity provider (OpenID Connect), such as `https://id.example`. Without one, nothing outside is asked."""
    oidc_client_id: str = ""
    """The name by which the identity provider knows this server."""
    oidc_client_secret_file: Path | None = None
    """A file with the secret that goes with it; without one, this server is a public client."""
    oidc_name: str = "统一身份认证"
    """What the button on the sign-in page calls the identity provider."""
    oidc_ca_file: Path | None = None
    """The certificate of the authority that vouches for the identity provider, where the system does not know it."""
    open311_endpoint: str = ""
    """Another Open311 server (GeoReport v2), such as `https://311.example/open311/v2`, whose requests `jingwei open311 exchange` fetches and answers."""
    open311_jurisdiction: str = ""
    """The `jurisdiction_id` that it asks for."""
    open311_key_file: Path | None = None
    """A file with the API key that it gave us."""
    webhook_hosts: str = ""
    """Where webhooks may go, with commas between: names of hosts of the place's own network, and networks (`10.0.0.0/8`) in which addresses must lie. Without any, nothing is sent."""

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
