"""Where an answer leads somebody: within this site, and nowhere else."""

from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response

from api.settings import settings

# Where nobody is sent back to: they would be asked to come in again, or be put out at once.
DOORS = ("/sign-in", "/sign-out", "/slip", "/oidc")


def see(path: str, **said: str) -> Response:
    """On to a page, so that loading it again repeats nothing."""
    query = urlencode({name: value for name, value in said.items() if value})
    return Response(status_code=303, headers={"Location": path + ("?" + query if query else ""), "Cache-Control": "no-store"})


def own_path(text: str | None) -> str:
    """A path of this site, or the front page for anything that might be read as an address elsewhere.

    Browsers take a backslash for a slash, drop tabs and line ends, and read two slashes as a host.
    """
    if not text or len(text) > 2000 or not text.startswith("/") or text[1:2] in ("/", "\\"):
        return "/"
    if "\\" in text or not text.isascii() or any(c <= " " or c == "\x7f" for c in text):
        return "/"
    parts = urlsplit(text)
    if parts.scheme or parts.netloc or parts.path.startswith("//") or parts.path.startswith(DOORS):
        return "/"
    return parts.path + ("?" + parts.query if parts.query else "")


def came_from(request: Request) -> str:
    """The page of ours on which a form stood, as the browser says."""
    said = request.headers.get("referer", "")
    for ours in (str(request.base_url).rstrip("/"), settings().own_url):
        if said.startswith(ours + "/"):
            return own_path(said.removeprefix(ours))
    return "/"


def sign_in(request: Request) -> str:
    """The way in, and from there back to what was asked for: the page itself, or the one that a form or script stood on."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    page = request.method in ("GET", "HEAD") and not request.headers.get("hx-request")
    return "/sign-in?" + urlencode({"next": own_path(asked) if page else came_from(request)})
