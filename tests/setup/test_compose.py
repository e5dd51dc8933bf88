"""docker-compose.temporal.yml: it is what Compose takes, and says what the program needs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.engine import search_attributes
from relight.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.temporal.yml"
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?")
NEEDED = {
    "POSTGRES_PASSWORD": "not-a-real-one",
    "RELIGHT_REPOSITORY_URL": "https://packages.example/debian",
    "RELIGHT_REPOSITORY_KEY": "./key.asc",
    "RELIGHT_KEYS": "./keys",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load(COMPOSE_FILE.read_text())
    assert isinstance(loaded, dict)
    return loaded


def compose_plugin() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def test_it_holds_to_the_compose_specification() -> None:
    validator = Path(sys.executable).with_name("check-jsonschema")
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [validator, *schema, COMPOSE_FILE], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(not compose_plugin(), reason="docker has no compose plugin here")
def test_compose_itself_reads_it() -> None:
    read = subprocess.run(
        ["docker", "compose", "-f", COMPOSE_FILE, "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", **NEEDED},
    )
    assert read.returncode == 0, read.stderr


def test_every_image_that_is_not_ours_is_pinned(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    ours = {name for name, service in compose["services"].items() if "build" in service}
    assert ours == {"store-upgrade", "fleet-init", "worker"}
    for name in images.keys() - ours:
        assert PINNED.fullmatch(images[name]), images[name]
    base = re.search(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    assert PINNED.fullmatch(base[1]), base[1]


def test_every_service_waits_for_one_that_says_when_it_is_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{name} waits for {needed}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[needed]["restart"] == "on-failure:5", needed


def test_it_registers_the_search_attributes_that_workflows_set(compose: dict[str, Any]) -> None:
    script = compose["services"]["temporal-prepare"]["command"][0]
    registered = re.search(r"for name in ([\w ]+); do", script)
    assert registered is not None
    assert tuple(registered[1].split()) == search_attributes.NAMES


def test_its_task_queues_are_in_one_part_so_that_priorities_hold(compose: dict[str, Any]) -> None:
    dynamic = yaml.safe_load(compose["configs"]["temporal-dynamic"]["content"])
    for of_what in ("Read", "Write"):
        assert dynamic[f"matching.numTaskqueue{of_what}Partitions"] == [{"value": 1}]


def test_it_holds_no_secret(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|PWD|TOKEN|API_KEY", variable):
                assert value.startswith("${POSTGRES_PASSWORD:?"), f"{name}: {variable}"
    assert all("file" in secret for secret in compose["secrets"].values())


def test_the_worker_gets_only_settings_that_exist(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = compose["services"]["worker"]["environment"]
    ours = {name: value for name, value in environment.items() if name.startswith("RELIGHT_")}
    for name, value in ours.items():
        # What has a default is that where nothing is exported.
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value))
    settings = Settings()
    assert settings.database_url == "postgresql+psycopg://relight@postgresql/relight"
    assert str(settings.ssh.client_key) == "/run/keys/ssh_client_key"
    assert str(settings.repository.signing_key) == "/run/secrets/repository_key"
    for name in ours:
        top, _, field = name.removeprefix("RELIGHT_").lower().partition("__")
        section = Settings.model_fields[top]
        if field:
            assert section.annotation is not None
            assert field in section.annotation.model_fields, name


def test_its_secrets_reach_the_worker_where_its_settings_look(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    looked_for = {
        value.removeprefix("/run/secrets/")
        for value in worker["environment"].values()
        if value.startswith("/run/secrets/")
    }
    assert looked_for == set(worker["secrets"]) == set(compose["secrets"])


def test_its_keys_are_in_a_folder_in_which_a_rotation_can_rename_them(
    compose: dict[str, Any],
) -> None:
    worker = compose["services"]["worker"]
    [folder] = worker["volumes"]
    assert (folder["type"], folder.get("read_only", False)) == ("bind", False)
    for name in ("RELIGHT_SSH__CLIENT_KEY", "RELIGHT_SSH__HOST_KEY_SECRET"):
        assert str(Path(worker["environment"][name]).parent) == folder["target"]


def test_the_images_hold_every_part_of_the_program() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    of_the_repository_alone = {"devkit", "lab", "tests"}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - of_the_repository_alone
    assert packages <= kept
    assert {"worker.py", "pyproject.toml", "requirements.lock"} <= kept
