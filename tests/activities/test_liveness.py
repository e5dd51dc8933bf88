"""A check of a large fleet: page by page, few writes, and nothing recorded while offline."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import event
from temporalio.testing import ActivityEnvironment

from activities.fleet.liveness import MACHINES_PER_PAGE, LivenessActivities
from devkit.bench.scale.fleet import SimulatedRoute, fill
from devkit.simulated.connectivity import FakeConnectivityCheck
from relight.domain.base import Origin
from relight.domain.liveness import MachinesProbed, ProbeMachinesInput, ProbeResult
from relight.store.store import Store
from tests.store.databases import use_fast_sqlite

use_fast_sqlite()

ROUTES = 10_000
ORIGIN = Origin(requested_by="tester", reason="a test")


class Machines:
    """Answers for all machines of a fleet.

    Attributes:
        silent: the keys of those that do not answer.
        connectivity: the control plane's own check.
        probed: how often each machine was probed.
    """

    def __init__(self, store: Store) -> None:
        self.silent: set[str] = set()
        self.connectivity = FakeConnectivityCheck()
        self.probed: Counter[str] = Counter()
        self.activities = LivenessActivities(store, self.probe, (self.connectivity,), 100)
        self._now = 0
        self.most_at_once = 0

    async def probe(self, machine_key: str, address: str) -> ProbeResult:
        assert address
        self.probed[machine_key] += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        return ProbeResult.SILENT if machine_key in self.silent else ProbeResult.ANSWERED

    async def check(self) -> list[MachinesProbed]:
        """Probe all machines; return each page."""
        self.probed.clear()
        pages, after = [], ""
        while True:
            page = await ActivityEnvironment().run(
                self.activities.probe_machines, ProbeMachinesInput(after=after, origin=ORIGIN)
            )
            pages.append(page)
            if page.last is None:
                return pages
            after = page.last


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path_factory.mktemp('liveness') / 'fleet.db'}"
    fill(url, ROUTES, "0.0.73", "amd64")
    with Store.open(url) as store:
        yield store


@pytest.fixture
def machines(store: Store) -> Machines:
    return Machines(store)


@pytest.fixture
def written(store: Store) -> Iterator[list[int]]:
    """The number of rows that each transaction wrote to the table of liveness."""
    rows: list[int] = []

    def count(_1, _2, statement, parameters, _3, many) -> None:
        if statement.startswith("INSERT INTO machine_liveness"):
            rows.append(len(parameters) if many else 1)

    engine = store._database._engine
    event.listen(engine, "before_cursor_execute", count)
    yield rows
    event.remove(engine, "before_cursor_execute", count)


async def test_ten_thousand_machines_are_probed_in_pages_and_written_once(machines, written):
    pages = await machines.check()
    assert len(pages) == ROUTES // MACHINES_PER_PAGE + 1
    assert sum(page.machines for page in pages) == ROUTES
    assert set(machines.probed.values()) == {1}
    assert len(machines.probed) == ROUTES
    assert machines.most_at_once == 100
    assert written == [MACHINES_PER_PAGE] * (ROUTES // MACHINES_PER_PAGE)
    written.clear()
    pages = await machines.check()
    assert written == []
    assert sum(page.changed for page in pages) == 0
    # The size of a message does not depend on that of the fleet.
    assert max(len(page.model_dump_json()) for page in pages) < 1000


async def test_only_machines_that_fell_silent_are_probed_twice_and_written(
    machines, store, written
):
    await machines.check()
    written.clear()
    fallen = {SimulatedRoute(number).machine_key for number in range(0, ROUTES, 1000)}
    machines.silent = fallen
    pages = await machines.check()
    assert {key for key, times in machines.probed.items() if times == 2} == fallen
    assert sum(page.changed for page in pages) == len(fallen)
    assert sum(page.unverified for page in pages) == len(fallen)
    assert store.liveness.silent().keys() == fallen
    assert sum(written) == len(fallen)
    written.clear()
    pages = await machines.check()
    assert set(machines.probed.values()) == {1}
    assert (sum(page.changed for page in pages), written) == (0, [])
    assert sum(page.unverified for page in pages) == len(fallen)
    machines.silent = set()
    pages = await machines.check()
    assert sum(page.changed for page in pages) == len(fallen)
    assert store.liveness.silent() == {}


async def test_a_lost_packet_is_no_silence(machines, store, monkeypatch):
    await machines.check()
    lost = SimulatedRoute(7).machine_key
    probe = machines.probe

    async def loses_the_first(machine_key: str, address: str) -> ProbeResult:
        answer = await probe(machine_key, address)
        first = machine_key == lost and machines.probed[lost] == 1
        return ProbeResult.SILENT if first else answer

    monkeypatch.setattr(machines.activities, "_probe", loses_the_first)
    pages = await machines.check()
    assert machines.probed[lost] == 2
    assert sum(page.silent for page in pages) == 0
    assert store.liveness.silent() == {}


async def test_a_control_plane_that_is_offline_records_no_silence(machines, store):
    await machines.check()
    machines.silent = {SimulatedRoute(number).machine_key for number in range(ROUTES)}
    machines.connectivity.reached = False
    pages = await machines.check()
    assert store.liveness.silent() == {}
    assert sum(page.changed for page in pages) == 0
    assert all("https://up.example" in page.offline for page in pages if page.machines)
    assert [each.reached for each in store.breaker.connectivity()] == [False]


async def test_a_control_plane_that_goes_offline_during_the_check_records_no_silence(
    machines, store, monkeypatch
):
    await machines.check()
    machines.silent = {SimulatedRoute(number).machine_key for number in range(50)}
    probe = machines.probe

    async def cut_off(machine_key: str, address: str) -> ProbeResult:
        machines.connectivity.reached = machines.probed[machine_key] == 0
        answer: ProbeResult = await probe(machine_key, address)
        return answer

    monkeypatch.setattr(machines.activities, "_probe", cut_off)
    await machines.check()
    assert store.liveness.silent() == {}


async def test_what_could_not_be_probed_is_neither_silent_nor_answering(
    machines, store, monkeypatch
):
    await machines.check()

    async def no_socket_left(machine_key: str, address: str) -> ProbeResult:
        return ProbeResult.NOT_PROBED

    monkeypatch.setattr(machines.activities, "_probe", no_socket_left)
    pages = await machines.check()
    assert sum(page.not_probed for page in pages) == ROUTES
    assert (sum(page.changed for page in pages), store.liveness.silent()) == (0, {})
