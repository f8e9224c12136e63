"""What is written is true: reference pages are those of the declarations, links lead somewhere, commands run."""

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer

from api import reference
from api.cli import SAMPLE, app
from geo import db, intake
from geo.catalog import RESOURCES
from geo.cluster import Address
from geo.keys import FieldKey
from tests.conftest import HOME, Databases

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def test_reference_pages_are_those_of_the_declarations() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in reference.FOLDER.glob("*.md")}
    told = reference.pages()
    # Measured, not declared: `python -m bench uploads` writes it where the corpora are.
    del written["uploads.md"]
    assert sorted(written) == sorted(told)
    # Run `jingwei docs` after changing a declaration.
    assert [name for name, text in told.items() if written[name] != text] == []


@pytest.mark.parametrize("name", RESOURCES)
def test_every_noun_is_documented(name: str) -> None:
    page = reference.pages()["resources.md"]
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert all(f"`{field.name}`" in section for field in RESOURCES[name].all_fields)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    lost = []
    for link in (one or other for one, other in LINK.findall(text)):
        target, _, anchor = link.partition("#")
        if target.startswith(("http:", "https:")):
            continue
        file = (ROOT / page).parent / target if target else ROOT / page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            lost.append(link)
    assert lost == []


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES)
def test_pages_speak_of_commands_and_options_that_there_are(page: str) -> None:
    commands = dict(reference._listed(typer.main.get_command(app)))
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    groups = {name.split()[0] for name in commands if " " in name}
    for name, rest in re.findall(rf"(?:^|`|\s)(?:\.venv/bin/)?jingwei ((?:(?:{'|'.join(groups)}) )?[a-z-]+)\b([^`\n]*)", text):
        if name not in commands and rest.startswith((" ", "")) and not rest.startswith(" --"):
            continue  # the word in a sentence
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, f"jingwei {name}{rest}"


QUICKSTART = ROOT / "docs" / "quickstart.md"


@pytest.fixture
def served(address: Address, databases: Databases, migrated: str, tmp_path: Path, key: FieldKey) -> Iterator[dict[str, str]]:
    """The environment of somebody whose own server answers at JINGWEI_PORT, with the areas of the sample town."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys").symlink_to(HOME / "keys")
    url = address.url(database=databases(migrated))
    _settled(url, Address(url, address.passwords).url("jingwei_loader"), key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environ = os.environ | {
        "JINGWEI_HOME": str(home), "JINGWEI_PORT": port, "JINGWEI_DATABASE_URL": url.render_as_string(hide_password=False),
        "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8",
    }
    process = subprocess.Popen([sys.executable, "-m", "api.cli", "demo"], cwd=ROOT, env=environ, start_new_session=True)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/collections", timeout=5):
                break
            time.sleep(0.1)
        yield environ
    finally:
        process.terminate()
        process.wait(20)


def _settled(url: sa.URL, loader: sa.URL, key: FieldKey) -> None:
    sheet = tomllib.loads((SAMPLE / "load.toml").read_text(encoding="utf-8"))
    with _engine(url) as admin, admin.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET name = :name, prefix = :prefix, demo = true"), sheet["instance"])
    with _engine(loader) as made:
        for entry in sheet["load"]:
            if entry["file"] in ("areas.gpkg", "grids.zip"):
                intake.load(made, intake.Order(SAMPLE / entry["file"], "areas", {}, entry["set"], layer=entry.get("layer")), key)


@contextlib.contextmanager
def _engine(url: sa.URL) -> Iterator[sa.Engine]:
    made = db.engine(url)
    try:
        yield made
    finally:
        made.dispose()


def test_the_commands_of_the_quickstart_run(served: dict[str, str], tmp_path: Path) -> None:
    page = QUICKSTART.read_text(encoding="utf-8")
    command = tmp_path / "bin" / "jingwei"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m api.cli "$@"\n')
    command.chmod(0o755)
    blocks = re.findall(r"^```sh run\n(.*?)^```", page, re.M | re.S)
    script = "set -euo pipefail\n" + "\n".join(blocks).replace("127.0.0.1:8000", f"127.0.0.1:{served['JINGWEI_PORT']}")
    environ = served | {"PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # What the page says that one gets to see.
    assert [said for said in re.findall(r"<!-- says: (.+?) -->", page) if said not in done.stdout] == [], done.stdout
