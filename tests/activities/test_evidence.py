"""Evidence about a machine: limited in size, without secrets, and never a reason to wait."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes
from temporalio.testing import ActivityEnvironment

from activities.machine import evidence
from activities.machine.evidence import EvidenceActivities
from devkit.simulated.cloud import FakeCloud
from relight.domain.base import Origin
from relight.domain.replacement import SaveEvidenceInput
from relight.hosts.questions import Section
from relight.hosts.shell import Completed
from relight.providers.driver import MachineSpec
from relight.store.store import open_upgraded_store

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----"


class LeakyShell:
    """A shell on a host with long logs that contain secrets."""

    async def run(self, argv, **_):
        return Completed(tuple(argv), 0, "token=swordfish\n" + KEY, "")

    async def ask(self, questions, **_):
        return {name: Section("x" * 40_000 + "the end", 0) for name in questions}


class Hosts:
    def __init__(self, *, hang: bool = False) -> None:
        self._hang = hang

    @asynccontextmanager
    async def connect(self, _machine):
        if self._hang:
            await asyncio.Event().wait()
        yield LeakyShell()


async def saved(tmp_path: Path, hosts: Hosts) -> dict[str, Any]:
    cloud = FakeCloud()
    spec = MachineSpec(region="fake-east", user_data=SecretBytes(b""), owner="us", generation=1)
    found = await cloud.ensure("r-1-g1", spec)
    message = SaveEvidenceInput(
        route_id="r-1",
        machine=found.machine,
        origin=Origin(requested_by="tester", reason="to see"),
    )
    with open_upgraded_store(f"sqlite:///{tmp_path / 'fleet.db'}") as store:
        activities = EvidenceActivities(hosts, {"fake": cloud}, store, ["swordfish", ""])
        await ActivityEnvironment().run(activities.save_evidence, message)
        [event] = store.events.list(kind=evidence.EVIDENCE_SAVED)
    return event.detail


async def test_evidence_is_limited_and_contains_no_secret(tmp_path):
    kept = (await saved(tmp_path, Hosts()))["saved"]
    assert kept["journal"] == "token=[hidden]\n[hidden]"
    assert len(kept["dpkg-log"]) == evidence.MAX_LOG_BYTES
    assert kept["dpkg-log"].endswith("the end")
    assert "login" in kept["console"]


async def test_a_hanging_host_is_noted_and_the_console_log_is_saved(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evidence, "READ_TIMEOUT", evidence.READ_TIMEOUT / 200)
    kept = await saved(tmp_path, Hosts(hang=True))
    assert kept["missing"]["journal"].startswith("no answer within")
    assert list(kept["saved"]) == ["console"]
