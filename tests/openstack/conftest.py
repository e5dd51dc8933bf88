"""A real OpenStack for the tests of this folder.

They run only when asked for, by `make test-openstack`: the cloud takes minutes to install, 5 GB of
memory, and minutes for each machine. With `RELIGHT_OPENSTACK_STATE`, the state folder of a cloud
that runs already (`python -m devkit.openstack up --state`), they use that one.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.openstack.rest import Login, Rest, endpoint
from lab.inside import inside
from relight.providers.openstack.driver import OpenStackDriver
from relight.providers.openstack.settings import OpenStackSettings
from relight.toml_file import read_toml
from starter.local.children import running, wait_until

ASKED_FOR = "RELIGHT_TEST_OPENSTACK"
RUNNING = "RELIGHT_OPENSTACK_STATE"

READY_WITHIN, STOP_WITHIN = timedelta(minutes=40), timedelta(minutes=1)
ANSWER_WITHIN = timedelta(minutes=5)
"""How long the driver waits for an answer of a small computer that emulates others."""

collect_ignore_glob = [] if os.environ.get(ASKED_FOR) else ["test_*.py"]


@dataclass(frozen=True)
class OpenStack:
    """A running cloud.

    Attributes:
        state: its state folder.
        described: the content of its file `lab.json`.
    """

    state: Path
    described: dict[str, Any]

    @property
    def host(self) -> str:
        """The address of the computer that has all services."""
        return str(self.described["host"])

    def rest(self, user: str) -> Rest:
        """Return the services for a user of `clouds.yaml`: `relight`, or `admin`."""
        clouds = yaml.safe_load(Path(self.described["clouds_file"]).read_text())["clouds"]
        auth = clouds[user]["auth"]
        return Rest(self.host, Login(user, auth["project_name"], auth["password"]))

    def driver(self, answer_within: timedelta = ANSWER_WITHIN) -> OpenStackDriver:
        """Return a driver as the settings of the cloud have it, except for its timeout."""
        file = Path(self.described["providers_file"])
        values = read_toml(file, "RELIGHT_PROVIDERS_FILE", is_named=True)["openstack"]
        values |= {"clouds_file": self.described["clouds_file"], "timeout": answer_within}
        return OpenStackDriver(OpenStackSettings.model_validate(values))

    async def run(self, *argv: str) -> str:
        """Run a program on the computer that has all services, and return its output."""
        process = await asyncio.create_subprocess_exec(
            *inside(self.state, self.described["machine"], argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, argv
        return output.decode()

    async def machines_that_run(self) -> set[str]:
        """Return the ids of the servers whose QEMU runs, whatever the services say."""
        listed = await self.run("virsh", "--quiet", "list", "--uuid")
        return set(listed.split())

    @asynccontextmanager
    async def compute_behind(self, url: str) -> AsyncIterator[None]:
        """Let the catalog name another address of the compute service until the block ends."""
        async with self.rest("admin") as admin:
            services = await admin.get("identity", "/v3/services?type=compute")
            [service] = services["services"]
            path = f"/v3/endpoints?interface=public&service_id={service['id']}"
            [public] = (await admin.get("identity", path))["endpoints"]

            async def name(url: str) -> None:
                changed = {"endpoint": {"url": url}}
                await admin.patch("identity", f"/v3/endpoints/{public['id']}", changed)

            own = endpoint(self.host, "compute")
            await name(url + own.removeprefix(f"http://{self.host}:8774"))
            try:
                yield
            finally:
                await name(own)

    async def until_compute_is_down(self, within: timedelta) -> None:
        """Wait until the services know that the compute service has stopped."""

        async def down() -> bool:
            async with self.rest("admin") as admin:
                path = "/os-services?binary=nova-compute"
                [service] = (await admin.get("compute", path))["services"]
            return bool(service["state"] == "down")

        await wait_until(down, within)

    @asynccontextmanager
    async def without_compute(self) -> AsyncIterator[None]:
        """Stop the compute service until the block ends. Its machines go on."""
        await self.run("systemctl", "stop", "nova-compute")
        try:
            yield
        finally:
            await self.run("systemctl", "start", "nova-compute")


@pytest.fixture(scope="session")
async def openstack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenStack]:
    if RUNNING in os.environ:
        state = Path(os.environ[RUNNING])
        yield OpenStack(state, json.loads((state / "lab.json").read_text()))
        return
    folder = tmp_path_factory.mktemp("openstack")
    state, log = folder / "state", folder / "openstack.log"
    argv = [sys.executable, "-m", "devkit.openstack", "serve", "--name", "ostest"]
    serve = [*argv, "--state", str(state)]
    async with running("OpenStack", serve, log=log, stop_within=STOP_WITHIN) as child:
        described: dict[str, Any] = {}

        async def ready() -> bool:
            file = state / "lab.json"
            if file.exists():
                described.update(json.loads(file.read_text()))
            return described.get("pid") == child.pid

        await child.wait_until_ready(ready, READY_WITHIN)
        yield OpenStack(state, described)
