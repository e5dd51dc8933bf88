"""`python -m tests.workflows.image.story_worker`: a worker that can be killed.

Its argument is a `Setup`, as JSON. What it reaches is served by the process of the test. It begins
to work when it reads a line, and ends with its input: no worker is left by a test that was killed.
"""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities import execution, policies
from activities.execution import (
    FaultInterceptor,
    HeartbeatInterceptor,
    StoreGuardInterceptor,
)
from activities.parts import activities_with
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.releases import FakeReleases
from relight.images.staging import Staging
from relight.providers.driver import ProviderDriver
from relight.providers.gcore.creation import GcoreSettings
from relight.providers.locations import read_token
from relight.staging_settings import StagingSettings
from relight.store.store import Store
from tests.workflows.harness import TAGS
from tests.workflows.image.observed_calls import ObservedGcore, ObservedStaging, Observer
from tests.workflows.installation import usual_parts
from workflows.image.publish import PublishImage
from workflows.image.region import PublishRegion

NOTICED = timedelta(seconds=3)
"""A killed worker is noticed after it, in real time: what runs at it stops the time of the server
that skips it."""

ATTEMPT = timedelta(seconds=5)
"""The same for what sends no heartbeats. One that takes longer is made twice, which is harmless."""

POLL = timedelta(milliseconds=20)
"""Between two requests for a task that deletes an image."""


class Setup(BaseModel):
    """Where the worker works.

    Attributes:
        temporal: the server's address.
        store: the store's URL.
        folder: of the images.
        gcore: of the account.
        staging: of the object storage.
        calls: the address to which its calls are reported.
    """

    temporal: str
    namespace: str
    task_queue: str
    store: str
    folder: Path
    gcore: GcoreSettings
    staging: StagingSettings
    calls: tuple[str, int]


def notice_soon() -> None:
    """Shorten the timeouts of attempts, as they are in real time here."""
    execution.HEARTBEAT_INTERVAL = NOTICED / 3
    for policy in (policies.IMAGE_SEND, policies.IMAGE_CHECK):
        object.__setattr__(policy, "heartbeat", NOTICED)
    for policy in (policies.IMAGE_IMPORT, policies.IMAGE_ASK, policies.STORE, policies.LOOKUP):
        object.__setattr__(policy, "attempt", ATTEMPT)


async def work(setup: Setup) -> None:
    """Work until the process is killed, or its input ends."""
    client = await Client.connect(
        setup.temporal, namespace=setup.namespace, data_converter=pydantic_data_converter
    )
    observer = await asyncio.to_thread(Observer, setup.calls)
    driver = ObservedGcore(setup.gcore, observer, poll=POLL)
    drivers: dict[str, ProviderDriver] = {driver.name: driver}
    secret = read_token(setup.staging.secret_file)
    with Store.open(setup.store) as store:
        parts = usual_parts(store, SimulatedHosts(FakeCloud()), FakeReleases(*TAGS), drivers)
        staging = Staging(setup.staging, secret, parts.fleet_owner)
        parts = replace(
            parts,
            task_queue=setup.task_queue,
            image_folder=setup.folder,
            stagings={driver.name: ObservedStaging(staging, observer)},
        )
        async with Worker(
            client,
            task_queue=setup.task_queue,
            workflows=[PublishImage, PublishRegion],
            activities=activities_with(parts, client),
            activity_executor=ThreadPoolExecutor(),
            workflow_runner=UnsandboxedWorkflowRunner(),
            interceptors=[FaultInterceptor(), HeartbeatInterceptor(), StoreGuardInterceptor()],
            # The server that skips time keeps what waits for a killed worker's cache for ever.
            max_cached_workflows=0,
            max_heartbeat_throttle_interval=timedelta(seconds=1),
        ):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    notice_soon()
    if sys.stdin.readline():
        asyncio.run(work(Setup.model_validate_json(sys.argv[1])))
    os._exit(0)
