"""A reader of a page, who types its lines on a fleet with simulated hosts."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from devkit.simulated.cloud import FakeCloud
from relight.engine.fleet import join
from relight.home import home_profile
from starter.local.home import prepare_home, write_env, write_temporal_profile
from starter.local.temporal import embedded_temporal
from tests.starter.in_process import InProcess
from tests.starter.pages.page import Line
from tests.support.command_line import WHOLE_FLEET_AT_ONCE, CommandLine, Ended, typed_in
from tests.support.lab_api import lab_api_alone
from tests.workflows.harness import Harness
from tests.workflows.installation import small_installation

Preparation = Callable[["Reader"], Awaitable[None]]


@dataclass
class Reader:
    """Types lines, each prepared by the state that its page speaks of.

    Attributes:
        harness: the fleet; its provider is `lab`, as on the pages.
        relight: the command line of the fleet.
        folder: outside of any fleet.
        filled: the values of the page's examples.
        exported: the variables that the page has exported.
    """

    harness: Harness
    relight: InProcess
    folder: Path
    filled: dict[str, str]
    exported: dict[str, str] = field(default_factory=dict)

    async def types(self, line: Line) -> Ended:
        """Type a line, and return how it ended."""
        program, *words = line.words(self.filled)
        if program == "export":
            self.exported.update(dict(word.split("=", 1) for word in words))
            return Ended(0, "", "")
        assert program in ("relight", ".venv/bin/relight")
        if words == ["worker"]:
            return await self._serves()
        if self.exported:
            return await typed_in(self.folder, *words, **self.exported)
        if words[0] in ("context", "--context"):
            return await typed_in(self.folder, *words)
        return await self.relight(*words)

    async def succeeds(self, line: str) -> None:
        """Type what a page does not have, and what has to be done for its next line."""
        ended = await self.types(Line(line))
        assert ended.code == 0, (line, ended)

    async def _serves(self) -> Ended:
        """Run a worker until it says that it serves, and end it by Ctrl-C."""
        async with (
            CommandLine(self.folder, self.exported).running("worker") as worker,
            asyncio.timeout(120),
        ):
            assert worker.stderr is not None
            said = b""
            while b"serves context" not in said:
                received = await worker.stderr.readline()
                assert received, said
                said += received
            worker.send_signal(signal.SIGINT)
            _, rest = await worker.communicate()
        assert worker.returncode is not None
        return Ended(worker.returncode, "", (said + rest).decode())


@asynccontextmanager
async def reader(folder: Path, published: Mapping[str, str]) -> AsyncIterator[Reader]:
    """Make a fleet in a home folder, with a Temporal server and a worker of its own.

    Args:
        folder: for all files.
        published: the settings of a repository.
    """
    home, elsewhere = folder / "fleet" / ".relight", folder / "elsewhere"
    elsewhere.mkdir()
    ssh = prepare_home(home)
    async with (
        lab_api_alone(folder) as lab,
        embedded_temporal(home, durable=False) as server,
    ):
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        write_temporal_profile(home_profile(home), server.address, "default")
        async with small_installation(client, home) as harness:
            await join(client, harness.store, own_server=True)
            variables = {
                "RELIGHT_TASK_QUEUE": harness.task_queue,
                "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
                "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
                **published,
                **lab,
                **WHOLE_FLEET_AT_ONCE,
            }
            write_env(home, variables)
            filled = {
                "temporal.example:7233": server.address,
                "-namespace fleet": "-namespace default",
                "/srv/fleet": str(home),
            }
            yield Reader(with_lab(harness), InProcess(home), elsewhere, filled)


def with_lab(harness: Harness) -> Harness:
    """Return the installation with another provider: the lab, as on the pages."""
    cloud = FakeCloud("lab")
    cloud.REGIONS = ("lab-east", "lab-west")
    harness.drivers[cloud.name] = cloud
    harness.hosts.add(cloud)
    return replace(harness, cloud=cloud)


async def read_through(
    reader: Reader,
    lines: list[Line],
    prepared: Mapping[str, Preparation],
    not_typed: Mapping[str, str],
) -> None:
    """Type the lines of a page in their order, and check that each succeeds.

    Args:
        reader: who types.
        lines: of the page.
        prepared: what is to be done before a line; each is a line of the page.
        not_typed: the reasons of the lines that are left out; each is a line of the page.
    """
    texts = {each.text for each in lines}
    assert {*prepared, *not_typed} - texts == set()
    done = set()
    for line in lines:
        if line.text in not_typed:
            continue
        if line.text in prepared and line.text not in done:
            await prepared[line.text](reader)
        done.add(line.text)
        ended = await reader.types(line)
        assert ended.code == 0, (line.text, ended)
        assert "Traceback" not in ended.err, (line.text, ended)
