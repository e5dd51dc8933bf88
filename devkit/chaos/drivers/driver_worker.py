"""`python -m devkit.chaos.drivers.driver_worker`: a process that makes the calls of one driver.

It reads a `Setup` and then `Order`s, a line each, and writes a `Report` for each order as it ends.
What its driver remembers dies with it.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic import BaseModel, JsonValue, SecretBytes

from relight.domain.machine import MachineAtProvider, MachineRef
from relight.providers.driver import MachineSpec, ProviderDriver, ProviderError
from relight.providers.gcore.driver import GcoreDriver
from relight.providers.linode.driver import LinodeDriver
from relight.providers.openstack.driver import OpenStackDriver
from relight.providers.rate import RateLimits
from relight.providers.registry import CLOUDS

UNLISTED = timedelta(seconds=0.1)
"""How long a listing lacks a new machine here, where it is a matter of time. Its measure in a real
cloud is seconds; a workflow tries again after some."""

# Shorter than in production: a fake is done in milliseconds. Linode's limit of creations would make
# most of the run a wait.
_DRIVERS: Mapping[str, Callable[[Any], ProviderDriver]] = {
    **{name: cloud.driver for name, cloud in CLOUDS.items()},
    "gcore": partial(GcoreDriver, poll=timedelta(seconds=0.005), wait=timedelta(seconds=0.2)),
    "linode": partial(LinodeDriver, limits=RateLimits()),
    "openstack": partial(OpenStackDriver, settle=4 * UNLISTED, poll=UNLISTED),
}


class Call(StrEnum):
    """What a worker is asked for."""

    ENSURE = "ensure"
    DESTROY = "destroy"
    IS_GONE = "is gone"
    LIST = "list"


class Setup(BaseModel):
    """What a worker begins with: a provider's name and its settings, as JSON."""

    provider: str
    settings: dict[str, JsonValue]


class Order(BaseModel):
    """One call.

    Attributes:
        number: is repeated in the report.
        provider_id: of the machine to destroy.
    """

    number: int
    call: Call
    region: str
    key: str = ""
    owner: str = ""
    generation: int = 1
    provider_id: str = ""


class Report(BaseModel):
    """What an order has led to.

    Attributes:
        machine: that `ensure` returned.
        machines: that `list` returned.
        yes: what `destroy` and `is gone` returned.
        error: the kind of a provider's error; empty: there was none.
        words: of the error.
    """

    number: int
    machine: MachineAtProvider | None = None
    machines: tuple[MachineAtProvider, ...] = ()
    yes: bool = False
    error: str = ""
    words: str = ""
    retryable: bool = False


async def main() -> None:
    """Work until standard input ends."""
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    setup = Setup.model_validate_json(await reader.readline())
    settings = CLOUDS[setup.provider].settings.model_validate(setup.settings)
    driver = _DRIVERS[setup.provider](settings)
    try:
        async with asyncio.TaskGroup() as group:
            while line := await reader.readline():
                group.create_task(_report(driver, Order.model_validate_json(line)))
    finally:
        await driver.close()


async def _report(driver: ProviderDriver, order: Order) -> None:
    try:
        report = await _done(driver, order)
    except ProviderError as error:
        report = Report(
            number=order.number, error=error.kind, words=str(error), retryable=error.retryable
        )
    sys.stdout.write(f"{report.model_dump_json()}\n")
    sys.stdout.flush()


async def _done(driver: ProviderDriver, order: Order) -> Report:
    match order.call:
        case Call.ENSURE:
            spec = MachineSpec(
                region=order.region,
                user_data=SecretBytes(f"#cloud-config\n# {order.key}\n".encode()),
                owner=order.owner,
                generation=order.generation,
                created_by="chaos",
            )
            return Report(number=order.number, machine=await driver.ensure(order.key, spec))
        case Call.DESTROY:
            ref = MachineRef(key=order.key, provider=driver.name, provider_id=order.provider_id)
            return Report(number=order.number, yes=await driver.destroy(ref))
        case Call.IS_GONE:
            return Report(number=order.number, yes=await driver.find(order.key) is None)
        case Call.LIST:
            return Report(number=order.number, machines=(await driver.list()).machines)


if __name__ == "__main__":
    asyncio.run(main())
