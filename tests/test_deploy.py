"""What ships keeps to its rules: nobody is root, nothing is secret, everything is watched, and the front door is narrow."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from sqlalchemy import make_url

from geo import keys
from geo.doctor import ASSETS
from geo.errors import Unavailable
from geo.keys import LOGINS

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STAGES = {name: text for text, name in re.findall(r"(FROM \S+ AS (\w+)\n.*?)(?=\nFROM |\Z)", DOCKERFILE, re.DOTALL)}
each_service = pytest.mark.parametrize("name", SERVICES)


def test_the_services_are_the_three() -> None:
    assert set(SERVICES) == {"db", "app", "proxy"}
    assert all(SERVICES[name]["build"] == {"context": ".", "target": name} for name in SERVICES)


@each_service
def test_an_image_is_the_distributions_and_not_roots(name: str) -> None:
    base, stage = name, STAGES[name]
    while base in STAGES:
        base = STAGES[base].split()[1]
    assert base == "debian:bookworm-slim"
    assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE) in (["postgres"], ["jingwei"], ["www-data"])
    assert "HEALTHCHECK" in stage


@each_service
def test_a_service_is_watched_and_held(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"] == ["CMD", "healthy"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "user", "network_mode", "pid", "cap_add", "devices"} & set(service)


def test_each_waits_until_what_it_needs_is_healthy() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    healthy = {"condition": "service_healthy"}
    assert waits == {"db": {}, "app": {"db": healthy}, "proxy": {"app": healthy}}


@each_service
def test_what_is_kept_is_in_a_named_volume(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source, target, *_ = volume.split(":")
        assert source in COMPOSE["volumes"]
        # Made in the image with its owner, or the engine makes it for root.
        assert re.search(rf"install -d -o \S+ -g \S+ -m 0\d+ {target}\b", STAGES[name]) or volume.endswith(":ro")


def test_only_the_proxy_is_reached_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["proxy"]
    assert all(port.startswith("${JINGWEI_LISTEN:-127.0.0.1}:") for port in published["proxy"])
    inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert {name for name, service in SERVICES.items() if set(service["networks"]) <= inside} == {"db", "app"}


def test_no_secret_is_written_down() -> None:
    for path in (ROOT / "docker-compose.yml", ROOT / "Dockerfile", *(ROOT / "deploy").rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text), f"{path} has an address with a password"
            assert "BEGIN PRIVATE KEY" not in text
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN|KEY", key) or (key.endswith("_FILE") and value.startswith("/var/lib/"))


def test_the_app_logs_in_as_who_may_migrate() -> None:
    environment = SERVICES["app"]["environment"]
    assert environment["JINGWEI_DATABASE_URL"] == f"postgresql://{LOGINS[0]}@db:5432/jingwei"
    assert f"--username={LOGINS[0]}" in (ROOT / "deploy/db/start").read_text()
    start = (ROOT / "deploy/app/start").read_text()
    assert start.index("jingwei migrate") < start.index("exec jingwei serve")


def test_the_password_it_makes_lets_the_server_start(tmp_path: Path) -> None:
    made = re.search(r'^ +(head -c .*) >"\$kept\.new"$', (ROOT / "deploy/db/start").read_text(), re.MULTILINE)
    assert made
    password = subprocess.run(["sh", "-c", made[1]], check=True, capture_output=True, text=True).stdout.strip()
    url = make_url(SERVICES["app"]["environment"]["JINGWEI_DATABASE_URL"])
    keys.sound(tmp_path, url.set(password=password), {})
    with pytest.raises(Unavailable):
        keys.sound(tmp_path, url, {})
    # And the app's own files are nobody else's.
    assert "umask 077" in (ROOT / "deploy/app/start").read_text()


def test_a_layer_takes_only_what_it_is_meant_to() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in shlex.split(line)[:-1]
    }
    assert ignored[1] == "*"
    assert {word for word in copied if not any(word == a or word.startswith(f"{a}/") for a in allowed)} == set()
    assert [word for word in copied if not (ROOT / word).exists()] == []


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").rglob("start")) + sorted((ROOT / "deploy").rglob("healthy")), ids=str)
def test_scripts_can_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    if script.read_text().startswith("#!/bin/sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)


@pytest.mark.parametrize(
    "directive",
    [
        "client_header_timeout 10s", "client_body_timeout 15s", "send_timeout 30s", "client_max_body_size 2m",
        "proxy_request_buffering on", "gzip off", "server_tokens off", "ssl_protocols TLSv1.2 TLSv1.3",
        "proxy_set_header X-Forwarded-For $remote_addr",
    ],
)
def test_the_proxy_bounds_and_adds_nothing(directive: str) -> None:
    text = (ROOT / "deploy/proxy/nginx.conf").read_text(encoding="utf-8")
    assert f"{directive};" in text
    assert "add_header" not in text
    # People's names stand in parameters.
    assert not {"$request ", "$request_uri", "$args", "$http_referer"} & set(re.findall(r"\$\w+ ?", text.split("access_log")[0]))


def test_the_wheel_holds_what_runs(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    wanted = ["git", "ls-files", "-z", "geo", "api", "maps", "data/codes", "data/sample"]
    listed = subprocess.run(wanted, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]
    listed += [f"maps/assets/vendor/{name}" for name in ASSETS]
    assert [name for name in listed if not (tmp_path / "installed" / name).is_file()] == []
    # Elsewhere, isolated from the checkout: what is not in the wheel is not found.
    found = "import sys; sys.path.insert(0, sys.argv[1]); import api.cli as c, geo.schema as s; assert c.SAMPLE.exists() and s.CODES.exists()"
    subprocess.run([sys.executable, "-I", "-c", found, str(tmp_path / "installed")], cwd=tmp_path, check=True)


def test_compose_agrees() -> None:
    # The plugin alone is asked: a client without it, or without an engine, has nothing to say.
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    done = subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
