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
from tests.support.compose import COMPOSE_FILE, ROOT, compose_file

VERSION = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?")
DIGEST = re.compile(VERSION.pattern + "@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return compose_file()


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
        env={"PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    assert read.returncode == 0, read.stderr


def test_every_image_that_is_not_ours_is_pinned(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    ours = {name for name, service in compose["services"].items() if "build" in service}
    assert ours == {"store-upgrade", "fleet-init", "worker"}
    for name in images.keys() - ours:
        # The digests of Temporal's images are published in no record.
        pinned = VERSION if images[name].startswith("temporalio/") else DIGEST
        assert pinned.fullmatch(images[name]), images[name]


def test_every_long_running_service_has_a_health_check(compose: dict[str, Any]) -> None:
    services = compose["services"]
    checked = {name for name, service in services.items() if "healthcheck" in service}
    runs = {name for name, each in services.items() if each["restart"] == "unless-stopped"}
    assert checked == runs == {"postgresql", "temporal", "temporal-ui", "worker"}


def test_every_service_waits_for_one_that_says_when_it_is_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{name} waits for {needed}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[needed]["restart"] == "on-failure:5", needed


def test_every_service_that_ends_is_waited_for_as_up_with_wait_needs_it(
    compose: dict[str, Any],
) -> None:
    services = compose["services"].values()
    waited_for = {
        needed
        for service in services
        for needed, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    ends = {name for name, each in compose["services"].items() if each["restart"] == "on-failure:5"}
    assert waited_for == ends


def test_it_registers_the_search_attributes_that_workflows_set(compose: dict[str, Any]) -> None:
    script = compose["services"]["temporal-prepare"]["command"][0]
    registered = re.search(r"for name in ([\w ]+); do", script)
    assert registered is not None
    assert tuple(registered[1].split()) == search_attributes.NAMES


def test_its_task_queues_are_in_one_part_so_that_priorities_hold(compose: dict[str, Any]) -> None:
    dynamic = yaml.safe_load(compose["configs"]["temporal-dynamic"]["content"])
    for of_what in ("Read", "Write"):
        assert dynamic[f"matching.numTaskqueue{of_what}Partitions"] == [{"value": 1}]


def test_its_history_shards_are_those_that_scale_md_plans_with(compose: dict[str, Any]) -> None:
    planned = re.search(r"\| history shards \| \*\*(\d+)\*\*", (ROOT / "docs/scale.md").read_text())
    assert planned is not None
    assert compose["services"]["temporal"]["environment"]["NUM_HISTORY_SHARDS"] == planned[1]


def test_it_holds_no_secret_in_a_variable(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|PWD|TOKEN|API_KEY|SECRET", variable):
                assert value.startswith(("/run/secrets/", "/fleet/")), f"{name}: {variable}"
    assert all("file" in secret for secret in compose["secrets"].values())


def test_each_service_gets_the_passwords_that_it_reads_and_no_other(
    compose: dict[str, Any],
) -> None:
    texts = {name: each["content"] for name, each in compose["configs"].items()}
    for name, service in compose["services"].items():
        read = [*service.get("environment", {}).values(), *service.get("command", ())]
        read += [texts[each["source"]] for each in service.get("configs", ())]
        named = set(re.findall(r"/run/secrets/(\w+)", "\n".join(read)))
        assert named == set(service.get("secrets", ())), name
    given = {name: set(each.get("secrets", ())) for name, each in compose["services"].items()}
    assert given["temporal"] == {"temporal"}
    assert given["worker"] == {"relight"}
    assert set().union(*given.values()) == set(compose["secrets"])


def test_the_worker_gets_only_settings_that_exist(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = compose["services"]["worker"]["environment"]
    ours = {name: value for name, value in environment.items() if name.startswith("RELIGHT_")}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.store_url.get_secret_value() == "postgresql://relight@postgresql/relight"
    assert str(settings.store_password_file) == "/run/secrets/relight"
    assert str(settings.ssh.client_key) == "/fleet/keys/ssh_client_key"
    for name in ours:
        top, _, field = name.removeprefix("RELIGHT_").lower().partition("__")
        section = Settings.model_fields[top]
        if field:
            assert section.annotation is not None
            assert field in section.annotation.model_fields, name


def test_the_fleet_is_read_only_except_for_the_folder_of_the_keys(
    compose: dict[str, Any],
) -> None:
    worker = compose["services"]["worker"]
    fleet, keys, packages = worker["volumes"]
    assert (fleet["source"], fleet["target"], fleet["read_only"]) == ("./fleet", "/fleet", True)
    assert worker["environment"]["RELIGHT_HOME"] == fleet["target"]
    # A folder, in which a rotation can rename keys; not each file.
    assert (keys["source"], keys.get("read_only", False)) == ("./fleet/keys", False)
    for name in ("RELIGHT_SSH__CLIENT_KEY", "RELIGHT_SSH__HOST_KEY_SECRET"):
        assert str(Path(worker["environment"][name]).parent) == keys["target"]
    written = Path(worker["environment"]["RELIGHT_PACKAGES__FOLDER"])
    assert written.is_relative_to(packages.partition(":")[2])


def test_who_owns_the_files_runs_all_that_does_not_begin_as_root(compose: dict[str, Any]) -> None:
    owner = compose_file(RELIGHT_UID="4711", RELIGHT_GID="4712")["x-owner"]
    assert owner == "4711:4712"
    for name, service in compose["services"].items():
        begins_as_root = service["image"].startswith("postgres:")
        if service.get("secrets") and not begins_as_root:
            assert service["user"] == compose["x-owner"] == "1000:1000", name


def test_ports_are_those_of_this_computer_only(compose: dict[str, Any]) -> None:
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
