"""What the table of faults says to type is accepted, for a route that has the fault."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from temporalio.client import Client

from relight.domain.disruption import DisruptionBudget
from relight.domain.fault.table import RULES, fault
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.rollout.strategy import Strategy
from relight.hosts.errors import HostKeyMismatchError, LoginRefusedError
from starter.local.temporal import EmbeddedTemporal
from tests.starter.installation import Installation, operated_installation
from tests.starter.pages.reader import with_lab
from tests.store.fleets import failing, opening
from tests.support.command_line import Ended
from tests.workflows.harness import Harness

FILLED = {
    "KEY": "no-key",
    "REGION": "lab-east",
    "TAG": "v0.0.74",
    "TRACK": "stable",
}

LOCKS_US_OUT = {
    "host-key-mismatch": HostKeyMismatchError,
    "login-refused": LoginRefusedError,
}

REST = (
    *("fleet status", "route list", "track show", "settings get", "freeze list", "exclude list"),
    *("breaker status", "breaker override list", "release list", "release show TAG"),
    *("store bad-rows", "store check", "store upgrade", "keys status"),
    *("reconcile --dry-run", "reconcile", "settings set default_release_tag TAG"),
    *("rollout start TAG", "rollout status", "rollout abort", "rollout undo", "route swap --help"),
    *("track set TRACK --release TAG", "provider list", "image list"),
)
"""The commands that are not about one route, in an order in which each can be typed."""

ELSEWHERE = {
    "breaker override add": "it needs a group, an owner and an end: test_cli_breaker",
    "image label": "it reads a checkout: test_cli_image_inputs",
    "image publish IMAGE": "test_cli_image_publish",
    "image publish IMAGE --missing": "test_cli_image_publish",
    "keys rotate client": "test_cli_keys",
    "keys rotate host-secret": "test_cli_keys",
    "machine keep KEY": "test_cli_machine",
    "machine remove KEY": "test_cli_machine, test_pages",
    "store adopt-current": "it asks on a terminal: test_cli_confirmation",
    "worker": "it does not end: test_pages, test_cli_doctor",
}


class Remedy(NamedTuple):
    """A command that is advised about a kind of fault."""

    kind: str
    words: str

    def about(self, route_id: str) -> list[str]:
        filled = {**FILLED, "ROUTE": route_id}
        return [filled.get(word, word) for word in self.words.split()]


def remedies() -> Iterator[Remedy]:
    for kind, rule in RULES.items():
        for words in re.findall("`relight ([^`]*)`", rule.advice):
            yield Remedy(kind, words)


ABOUT_A_ROUTE = [each for each in remedies() if "ROUTE" in each.words]


def test_each_remedy_is_typed_in_a_test():
    rest = {each.words for each in remedies()} - {each.words for each in ABOUT_A_ROUTE}
    assert rest == {*REST, *ELSEWHERE}
    assert len(ABOUT_A_ROUTE) > 50


async def route_with(harness: Harness, remedy: Remedy, route_id: str) -> None:
    """Make a route that has the fault, as far as its remedy needs it."""
    store, found = harness.store, fault(remedy.kind, "a test")
    if "provision" in remedy.words:
        store.routes.open(opening(route_id, region="lab-east"), harness.operation())
        # A refusal is not recorded, but shown: the route failed before.
        found = found.model_copy(update={"refused": False})
        failed = failing(route_id, found, key=f"{route_id}-g1", destroyed=True)
    else:
        await harness.serving_route(region="lab-east", route_id=route_id)
        failed = failing(route_id, found)
    if remedy.kind == "downgrade-refused":
        await harness.swap(route_id, "v0.0.74")  # from v0.0.73
    store.routes.record_fault(failed, harness.operation())
    if remedy.kind in LOCKS_US_OUT:
        harness.hosts.locked_out[f"{route_id}-g1"] = LOCKS_US_OUT[remedy.kind]
    elif "--unreachable" in remedy.words:
        harness.hosts.unreachable.add(f"{route_id}-g1")
    if remedy.kind == "route-quarantined":
        store.remediations.quarantine(route_id, "a test", harness.operation())
    if "cancel" in remedy.words:
        gate = harness.hosts.hold_installs()
        await harness.start_swap(route_id, "v0.0.74")
        await gate.reached()


@pytest.fixture
async def all_may_be_out(
    temporal: EmbeddedTemporal,
    temporal_client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Installation]:
    """An installation in which all routes may have faults, and be replaced, at once."""
    monkeypatch.setattr("activities.machine.polls.POLL", timedelta(milliseconds=10))
    strategy = Strategy(disruption_budget=DisruptionBudget())
    async with operated_installation(
        *(temporal_client, temporal.address, tmp_path), policy=ReconcilePolicy(strategy=strategy)
    ) as installation:
        yield installation


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_remedy_is_accepted_for_a_route_that_has_the_fault(
    all_may_be_out: Installation,
) -> None:
    installation = all_may_be_out
    harness = with_lab(installation.harness)
    numbered = [(remedy, f"r-{number}") for number, remedy in enumerate(ABOUT_A_ROUTE)]
    # Swaps hang once there is one to cancel.
    numbered.sort(key=lambda each: "cancel" in each[0].words)
    at_once = asyncio.Semaphore(2)

    async def type_in(remedy: Remedy, route_id: str) -> Ended:
        async with at_once:
            return await installation.relight(*remedy.about(route_id))

    for remedy, route_id in numbered[:-1]:
        await route_with(harness, remedy, route_id)
    ended = await asyncio.gather(*(type_in(*each) for each in numbered[:-1]))
    await route_with(harness, *numbered[-1])
    ended.append(await type_in(*numbered[-1]))
    refused = [
        (*remedy, how.said)
        for (remedy, _), how in zip(numbered, ended, strict=True)
        if how.code != 0
    ]
    assert refused == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_remedy_that_is_about_no_route_is_accepted(
    installation: Installation,
    three_routes: list[str],
    published: Mapping[str, str],
) -> None:
    gate = installation.harness.hosts.hold_installs()
    relight = installation.relight.where(**published)
    for words in REST:
        if words == "rollout undo":
            assert (await relight("rollout", "start", "v0.0.74", "--wait")).code == 0
        ended = await relight(*Remedy("", words).about(""))
        assert ended.code == 0, (words, ended)
        if words == "rollout start TAG":
            await gate.reached()
        if words == "rollout abort":
            gate.open()
            await installation.harness.until_idle()
