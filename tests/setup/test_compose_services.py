"""The services of docker-compose.temporal.yml, run without containers as the file has them.

Their command lines, variables, configurations and files are read from it. Only what a network and a
container give is another: names of hosts, ports, and paths. PostgreSQL asks for passwords, as its
image does. The programs of Temporal's images that no package brings here, the tool of its schema
and the server on PostgreSQL, are stood in for by a login with what the file gives them.
"""

import asyncio
import json
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from starter.local.children import Child, running
from starter.local.temporal import EmbeddedTemporal
from tests.providers.fakes import FAKES
from tests.support.compose import ROOT, compose_file, first_steps
from tests.support.postgres import GuardedPostgres

SOON = timedelta(seconds=60)

# Both log in as psql does with what they got, and make a table as their programs do.
SCHEMA_TOOL = """#!/bin/sh
set -eu
[ "$SQL_PLUGIN" = postgres12 ]
export PGHOST="$SQL_HOST" PGPORT="$SQL_PORT" PGUSER="$SQL_USER" PGPASSWORD="$SQL_PASSWORD"
psql -qX -v ON_ERROR_STOP=1 -d "$2" -c "CREATE EXTENSION IF NOT EXISTS btree_gin" \
    -c "CREATE TABLE IF NOT EXISTS schema_version (version text)"
echo "$2 $3 $(basename "$(dirname "$5")")"
"""
SERVER = """#!/bin/sh
set -eu
export PGHOST="$POSTGRES_SEEDS" PGPORT="$DB_PORT" PGUSER="$POSTGRES_USER" PGPASSWORD="$POSTGRES_PWD"
psql -qX -v ON_ERROR_STOP=1 -d temporal -c "INSERT INTO schema_version VALUES ('1')"
echo "shards $NUM_HISTORY_SHARDS"
cat "$DYNAMIC_CONFIG_FILE_PATH"
"""

PROVIDERS = """
[linode]
token_file = "secrets/linode"
[linode.locations.us-east]
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"

[gcore]
api_key_file = "secrets/gcore"
project_id = 7
[gcore.locations.lux]
shapes = ["g1-standard-1-2"]
image = "relight-base-1"
extra = { region_id = 76 }

[alibaba]
key_id = "key"
key_file = "secrets/alibaba"
[alibaba.locations.eu-central-1]
zones = ["vsw-1"]
shapes = ["ecs.t6-c1m1.large"]
image_prefix = "relight-base-"
extra = { security_group = "sg-1" }

[oci]
tenancy = "ocid1.tenancy.oc1..a"
user = "ocid1.user.oc1..a"
fingerprint = "aa:bb"
key_file = "secrets/oci.pem"
compartment = "ocid1.compartment.oc1..a"
[oci.locations.eu-frankfurt-1]
zones = ["Uocm:EU-FRANKFURT-1-AD-1"]
shapes = ["VM.Standard.E2.1"]
subnet = "ocid1.subnet.oc1..a"
image_prefix = "relight-base-"

[openstack]
clouds_file = "secrets/clouds.yaml"
cloud = "own"
[openstack.locations.RegionOne]
shapes = ["m1.small"]
image_prefix = "relight-base-"
"""

CLOUDS = """
clouds:
  own:
    auth:
      auth_url: https://keystone.example/v3
      username: relight
      password: secret
      project_name: fleet
      user_domain_name: Default
      project_domain_name: Default
"""

ENV = """
RELIGHT_DIRECTORY__PATH=/fleet/releases
RELIGHT_GATE_CHECKS='{"errors": {"kind": "prometheus", "url": "http://127.0.0.1:9",
    "query": "errors{version=\\"$release\\"}", "max_value": 1}}'
RELIGHT_CONNECTIVITY_CHECKS='["tcp://192.0.2.1:443"]'
"""


SHOWS_SETTINGS = """
import json
from relight.settings import load_settings

settings = load_settings()
print(json.dumps({
    "service": settings.service.package,
    "query": settings.gate_checks["errors"].query,
    "connectivity": settings.connectivity_checks,
    "packages": str(settings.packages.folder),
}))
"""


@dataclass
class Deployment:
    """The services of the file, on this computer.

    Attributes:
        folder: that of the compose file.
        here: what stands here for a value, or for a path in one.
        postgres: the server.
    """

    folder: Path
    here: dict[str, str]
    postgres: GuardedPostgres

    def __post_init__(self) -> None:
        self._services = self._localized(compose_file()["services"])
        for name, config in compose_file()["configs"].items():
            (self.folder / name).write_text(self._localized(config["content"]))

    def _localized(self, value: Any) -> Any:
        match value:
            case str() if value in self.here:
                return self.here[value]
            case str():
                parts = re.compile("|".join(re.escape(each) for each in self.here if "/" in each))
                return parts.sub(lambda found: self.here[found[0]], value)
            case dict():
                return {name: self._localized(each) for name, each in value.items()}
            case list():
                return [self._localized(each) for each in value]
            case _:
                return value

    def argv(self, service: str) -> list[str]:
        declared = self._services[service]
        return [*declared.get("entrypoint", ()), *declared["command"]]

    def variables(self, service: str) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
        given = self._services[service]["environment"]
        of_containers = {"PATH": path, "HOME": "/nowhere", "PGPORT": str(self.postgres.port)}
        return {**of_containers, **given}

    def health(self, service: str) -> list[str]:
        kind, *argv = self._services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return list(argv)

    async def runs(self, service: str, argv: list[str] | None = None) -> tuple[int, str, str]:
        """Run a service that ends, or another command in its container."""
        process = await asyncio.create_subprocess_exec(
            *(argv or self.argv(service)),
            cwd=self.folder,
            env=self.variables(service),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def completes(self, service: str, argv: list[str] | None = None) -> str:
        code, out, err = await self.runs(service, argv)
        assert code == 0, out + err
        return out

    def password(self, name: str) -> str:
        return (self.folder / "passwords" / name).read_text().strip()

    def connects(self, role: str, password: str, database: str) -> None:
        psycopg.connect(self.postgres.url(role, password, database), connect_timeout=10).close()


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
    guarded_postgres: GuardedPostgres,
    own_temporal: EmbeddedTemporal,
) -> Deployment:
    folder = tmp_path_factory.mktemp("deployment")
    subprocess.run(["sh", "-euc", first_steps()], cwd=folder, check=True, capture_output=True)
    (folder / "passwords" / "postgres").write_text(f"{guarded_postgres.password}\n")
    fleet, programs = folder / "fleet", folder / "bin"
    for name in ("secrets", "releases"):
        (fleet / name).mkdir()
    for name in ("linode", "gcore", "alibaba"):
        (fleet / "secrets" / name).write_text(f"{name}-secret\n")
    make_key = ["openssl", "genrsa", "-out", str(fleet / "secrets" / "oci.pem"), "2048"]
    subprocess.run(make_key, check=True, capture_output=True)
    (fleet / "secrets" / "clouds.yaml").write_text(CLOUDS)
    (fleet / "providers.toml").write_text(PROVIDERS)
    (fleet / "service.toml").write_text('package = "box"\nunit = "box.service"\nprobe = "none"\n')
    (fleet / "env").write_text(ENV.replace("\n    ", " ").replace("/fleet", str(fleet)))
    (folder / "packages").mkdir()
    programs.mkdir()
    for name, text in (("temporal-sql-tool", SCHEMA_TOOL), ("server", SERVER)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    here = {
        "/run/secrets": str(folder / "passwords"),
        "/roles.sql": str(folder / "postgresql-roles"),
        "/etc/temporal/dynamic.yaml": str(folder / "temporal-dynamic"),
        "/etc/temporal/entrypoint.sh": str(programs / "server"),
        "/fleet": str(fleet),
        "/var/lib/relight": str(folder / "packages"),
        "/tmp/relight": str(folder / "scratch"),
        "@postgresql/": f"@127.0.0.1:{guarded_postgres.port}/",
        "postgresql": "127.0.0.1",
        "5432": str(guarded_postgres.port),
        "temporal:7233": own_temporal.address,
    }
    return Deployment(folder, here, guarded_postgres)


@pytest.fixture(scope="module")
async def with_roles(deployment: Deployment) -> Deployment:
    await deployment.completes("postgresql", deployment.health("postgresql"))
    await deployment.completes("postgresql-roles")
    return deployment


@pytest.fixture(scope="module")
async def joined(with_roles: Deployment) -> Deployment:
    """All that runs once has run, twice: each `docker compose up` starts it again."""
    for _ in range(2):
        for service in ("postgresql-roles", "temporal-prepare", "store-upgrade", "fleet-init"):
            await with_roles.completes(service)
    return with_roles


@pytest.fixture(scope="module")
async def worker(joined: Deployment) -> AsyncIterator[Child]:
    argv = ["env", "-i", *(f"{name}={value}" for name, value in joined.variables("worker").items())]
    [command] = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    log = joined.folder / "worker.log"
    async with running("worker", [*argv, *json.loads(command)], log=log) as child:

        async def serves() -> bool:
            return "serves context" in child.output()

        await child.wait_until_ready(serves, SOON)
        yield child


def test_the_first_steps_of_its_head_make_files_that_nobody_else_can_read(deployment: Deployment):
    made = [deployment.folder / "fleet", deployment.folder / "passwords"]
    made += [path for each in made for path in each.rglob("*")]
    names = {path.name for path in made}
    assert names >= {"ssh_client_key", "host_key_secret", "postgres", "temporal", "relight"}
    first = ("ssh_client_key", "host_key_secret", "temporal", "relight", "passwords", "keys")
    for path in made:
        if path.name in first:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert deployment.password("temporal") != deployment.password("relight")


async def test_each_role_has_its_own_databases_and_logs_in_with_its_own_password(
    with_roles: Deployment,
):
    own = {"temporal": ("temporal", "temporal_visibility"), "relight": ("relight",)}
    for role, databases in own.items():
        for database in databases:
            with_roles.connects(role, with_roles.password(role), database)
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                with_roles.connects(role, "wrong", database)
    for role, database in (("relight", "temporal"), ("temporal", "relight")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            with_roles.connects(role, with_roles.password(role), database)


async def test_a_changed_file_is_a_changed_password(with_roles: Deployment):
    before, file = with_roles.password("relight"), with_roles.folder / "passwords" / "relight"
    file.write_text("it's \\another\n")
    await with_roles.completes("postgresql-roles")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        with_roles.connects("relight", before, "relight")
    psycopg.connect(
        host="127.0.0.1",
        port=with_roles.postgres.port,
        user="relight",
        password="it's \\another",
        dbname="relight",
    ).close()
    file.write_text(before)
    await with_roles.completes("postgresql-roles")
    with_roles.connects("relight", before, "relight")


async def test_temporal_makes_its_tables_and_runs_as_its_own_role(with_roles: Deployment):
    made = await with_roles.completes("temporal-schema")
    assert made.splitlines() == [
        "temporal setup-schema .",
        "temporal update-schema temporal",
        "temporal_visibility setup-schema .",
        "temporal_visibility update-schema visibility",
    ]
    started = await with_roles.completes("temporal")
    assert "shards 512" in started
    assert "matching.numTaskqueueReadPartitions" in started


async def test_without_its_worker_the_health_check_fails(joined: Deployment):
    code, _, err = await joined.runs("worker", joined.health("worker"))
    assert code == 1
    assert "no worker of" in err


async def test_the_worker_serves_with_every_provider_of_the_fleet(
    joined: Deployment, worker: Child
):
    await joined.completes("worker", joined.health("worker"))
    served = re.search(r"providers: ([\w, ]+); releases from", worker.output())
    assert served is not None, worker.output()
    assert set(served[1].split(", ")) == set(FAKES)
    listed = json.loads(await joined.completes("worker", ["relight", "provider", "list", "--json"]))
    [linode] = [each for each in listed if each["name"] == "linode"]
    assert [region["name"] for region in linode["regions"]] == ["us-east"]
    assert {each["name"] for each in listed if each["configured"]} == set(FAKES)


async def test_the_worker_has_the_settings_of_the_fleet(joined: Deployment):
    shown = json.loads(await joined.completes("worker", ["python", "-c", SHOWS_SETTINGS]))
    assert shown["service"] == "box"
    assert shown["query"] == 'errors{version="$release"}'
    assert shown["connectivity"] == ["tcp://192.0.2.1:443"]
    assert shown["packages"] == str(joined.folder / "packages" / "packages")


def test_no_password_is_in_a_log_or_among_the_arguments(joined: Deployment, worker: Child):
    arguments = Path(f"/proc/{worker.pid}/cmdline").read_text()
    variables = Path(f"/proc/{worker.pid}/environ").read_text()
    for name in ("postgres", "temporal", "relight"):
        assert joined.password(name) not in worker.output() + arguments + variables
    assert "-secret" not in worker.output() + arguments + variables
