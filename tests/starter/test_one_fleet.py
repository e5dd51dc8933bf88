"""Store, Temporal and home are one fleet: no command creates, reaches or changes another one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from relight.domain.base import Origin
from relight.domain.retention import PruneStoreInput
from relight.engine.fleet import namespace_identity
from relight.home import home_profile
from relight.store.store import open_upgraded_store
from starter.local import processes
from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.support.command_line import CommandLine, typed_in
from tests.support.fleets import OwnFleet, own_fleet, serve_one
from workflows.fleet.prune import PruneStore

pytestmark = pytest.mark.attack("a command in the wrong place")

SOON = timedelta(seconds=20)
ORIGIN = Origin(requested_by="ann", reason="a test")
PRUNE = PruneStoreInput(older_than=timedelta(days=90), origin=ORIGIN)
PROVISION = ("route", "provision", "east-1", "--track", "stable", "--region", "lab-east")

STORE_READS: Sequence[tuple[str, ...]] = (
    ("fleet", "status"),
    ("route", "list"),
    ("route", "show", "east-1"),
    ("settings", "get"),
    ("track", "show"),
    ("pool", "list"),
    ("breaker", "status"),
    ("freeze", "list"),
    ("rollout", "plan", "v0.0.74", "--unchecked"),
    ("store", "prune", "--older-than", "90d", "--dry-run"),
)
STORE_CHANGES: Sequence[tuple[str, ...]] = (
    ("settings", "set", "default_release_tag", "v0.0.74", "--unchecked"),
    ("track", "set", "beta"),
    ("pool", "set", "lab", "lab-east", "2", "--unchecked"),
    ("freeze", "add", "--for", "4h", "--reason", "a test"),
    ("route", "quarantine", "east-1", "--reason", "a test"),
    ("store", "prune", "--older-than", "90d"),
)
TEMPORAL: Sequence[tuple[str, ...]] = (
    ("rollout", "start", "v0.0.70"),
    ("rollout", "undo", "v0.0.70"),
    PROVISION,
    ("route", "swap", "east-1", "v0.0.70"),
    ("route", "retire", "east-1", "--reason", "a test"),
    ("route", "wait", "east-1"),
    ("reconcile",),
    ("reconcile", "--dry-run"),
    ("schedule", "apply"),
    ("schedule", "list"),
)
ALL = (*STORE_READS, *STORE_CHANGES, *TEMPORAL)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[OwnFleet]:
    """A fleet with one route, whose server runs at Temporal's default port, if that is free."""
    async with own_fleet(tmp_path / "real", 7233) as fleet:
        serve_one(fleet.store)
        yield fleet


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[OwnFleet]:
    """Another fleet on this computer."""
    async with own_fleet(tmp_path / "other") as fleet:
        yield fleet


def content(store_url: str) -> tuple[object, ...]:
    """Return what a store declares, and how much was logged."""
    with open_upgraded_store(store_url) as store:
        return (
            store.fleet_identity.get(),
            store.fleet_settings.all(),
            store.tracks.list(),
            store.routes.list(),
            len(store.events.list()),
        )


# ---------------------------------------------------------------- outside of any home


async def test_in_the_wrong_folder_a_command_says_where_it_looked_and_makes_nothing(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for ended in await asyncio.gather(
        typed_in(wrong, "fleet", "status"),
        typed_in(wrong, "settings", "set", "default_release_tag", "v0.0.74"),
        typed_in(wrong, "rollout", "start", "v0.0.70"),
        typed_in(wrong, "schedule", "list"),
        typed_in(wrong, "store", "upgrade"),
        typed_in(wrong, "worker"),
        typed_in(wrong, "lab", "status"),
    ):
        refused(ended, 3, str(wrong / ".relight"), "RELIGHT_HOME is not set", "`relight up`")
    ended = await typed_in(wrong, "release", "list")
    refused(ended, 3, str(wrong / ".relight" / "env"), "`relight up`")
    assert list(wrong.iterdir()) == []
    assert await fleet.workflows() == 0


async def test_every_command_refuses_a_home_that_does_not_exist(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    relight = InProcess(tmp_path / "nowhere")
    for words in ALL:
        refused(await relight(*words), 3, str(relight.home), "which RELIGHT_HOME names")
    assert not relight.home.exists()
    assert await fleet.workflows() == 0


async def test_an_empty_folder_is_no_home_even_with_its_name(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    (tmp_path / "wrong" / ".relight").mkdir(parents=True)
    ended = await typed_in(tmp_path / "wrong", "rollout", "start", "v0.0.70")
    refused(ended, 3, "is no home of Relight")
    assert list((tmp_path / "wrong" / ".relight").iterdir()) == []
    assert await fleet.workflows() == 0


async def test_temporal_alone_is_no_fleet(fleet: OwnFleet, tmp_path: Path) -> None:
    relight = InProcess(tmp_path / "nowhere", {"TEMPORAL_ADDRESS": fleet.address})
    for words in ALL:
        refused(await relight(*words), 3, "there is no fleet here")
    assert await fleet.workflows() == 0


async def test_a_store_alone_is_read_with_a_note_and_not_changed(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    relight = InProcess(tmp_path / "nowhere", {"RELIGHT_STORE_URL": fleet.store_url})
    before = content(fleet.store_url)
    for words in STORE_READS:
        ended = await relight(*words)
        assert ended.code == 0, ended
        assert "no Temporal is set" in ended.said
        assert f"what the store {fleet.home / 'fleet.db'} says" in ended.said
    for words in (*STORE_CHANGES, *TEMPORAL):
        refused(await relight(*words), 3, "no Temporal is set", "TEMPORAL_ADDRESS")
    assert content(fleet.store_url) == before
    assert await fleet.workflows() == 0


# ---------------------------------------------------------------- a home that is down


async def test_with_a_home_whose_up_has_failed_nothing_is_reached(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    failed = CommandLine(tmp_path / "failed")
    up = await failed.where(TEMPORAL_ADDRESS="127.0.0.1:1")(
        "up", "--no-lab", "--i-understand", "--no-worker"
    )
    assert up.code == 3
    relight = InProcess(failed.home)
    for words in ALL:
        refused(await relight(*words), 3, f"the home {failed.home} has no store", "`relight up`")
    assert not (failed.home / "fleet.db").exists()
    assert await fleet.workflows() == 0


async def test_a_home_that_is_down_says_so_and_reaches_no_other(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    home = tmp_path / "down"
    async with own_fleet(home) as own:
        serve_one(own.store)
    # As after a crash: the address is still there, and another fleet's server answers at it.
    home_profile(home).write_text(home_profile(fleet.home).read_text())
    relight, down = InProcess(home), f"the home {home} is down"
    for words in (*STORE_READS, *STORE_CHANGES):
        ended = await relight(*words)
        assert ended.code == 0, ended
        assert down in ended.said
    for words in TEMPORAL:
        refused(await relight(*words), 3, down, "`relight up`")
    assert await fleet.workflows() == 0
    worker = await CommandLine(home)("worker")
    refused(worker, 3, down)


# ---------------------------------------------------------------- two fleets


async def test_a_store_with_the_temporal_of_another_fleet_is_refused(
    fleet: OwnFleet, other: OwnFleet
) -> None:
    before = [content(each.store_url) for each in (fleet, other)]
    relight = InProcess(fleet.home, {"TEMPORAL_ADDRESS": other.address})
    for words in ALL:
        ended = await relight(*words)
        refused(ended, 3, fleet.fleet_id, other.fleet_id, "Nothing was changed", "RELIGHT_HOME")
    mixed = InProcess(other.home, {"RELIGHT_STORE_URL": fleet.store_url})
    for words in ALL:
        refused(await mixed(*words), 3, fleet.fleet_id, other.fleet_id, "TEMPORAL_ADDRESS")
    assert [content(each.store_url) for each in (fleet, other)] == before
    assert await fleet.workflows() == await other.workflows() == 0


async def test_the_exit_code_and_the_message_are_those_of_the_process(
    fleet: OwnFleet, other: OwnFleet
) -> None:
    mixed = CommandLine(fleet.home, {"TEMPORAL_ADDRESS": other.address})
    for words in (("fleet", "status"), ("rollout", "start", "v0.0.70"), ("worker",)):
        refused(await mixed(*words), 3, fleet.fleet_id, other.fleet_id, "Nothing was changed")


async def test_up_and_init_join_no_two_fleets(fleet: OwnFleet, other: OwnFleet) -> None:
    mixed = InProcess(fleet.home, {"TEMPORAL_ADDRESS": other.address})
    for words in (
        ("init",),
        ("init", "--adopt-temporal"),
        ("up", "--no-lab", "--i-understand", "--no-worker"),
    ):
        ended = await (mixed.processes if words[0] == "up" else mixed)(*words)
        refused(ended, 3, fleet.fleet_id, other.fleet_id)
    identities = [await namespace_identity(each.client) for each in (fleet, other)]
    assert [each.fleet_id for each in identities] == [fleet.fleet_id, other.fleet_id]


async def test_a_second_temporal_for_a_store_is_refused(fleet: OwnFleet, tmp_path: Path) -> None:
    second = CommandLine(tmp_path / "second", {"RELIGHT_STORE_URL": fleet.store_url})
    before = content(fleet.store_url)
    refused(
        await second("up", "--no-lab", "--i-understand", "--no-worker"),
        3,
        fleet.fleet_id,
        "--adopt-temporal",
    )
    assert content(fleet.store_url) == before
    assert (await InProcess(fleet.home)("schedule", "list")).code == 0


async def test_two_homes_have_ports_of_their_own(fleet: OwnFleet, tmp_path: Path) -> None:
    first, second = (CommandLine(tmp_path / name) for name in ("first", "second"))
    words = ("up", "--detach", "--json", "--no-lab", "--i-understand", "--no-worker")
    try:
        ups = [(await each(*words)).json for each in (first, second)]
        assert len({up["temporal"] for up in ups}) == len({up["fleet"] for up in ups}) == 2
        assert not {"7233", "8233"} & {up["temporal"].rpartition(":")[2] for up in ups}
        await processes.stop(first.home, SOON)
        refused(await first("schedule", "list"), 3, f"the home {first.home} is down")
        assert (await second("schedule", "list")).code == 0
        again = (await first(*words)).json
        assert (again["temporal"], again["ui"]) == (ups[0]["temporal"], ups[0]["ui"])
        assert again["fleet"] == ups[0]["fleet"]
    finally:
        for each in (first, second):
            await processes.stop(each.home, SOON)
    assert await fleet.workflows() == 0


async def test_a_running_worker_does_no_work_of_another_fleet_that_took_its_address(
    tmp_path: Path,
) -> None:
    relight = CommandLine(tmp_path / "mine")
    async with own_fleet(relight.home) as mine:
        port = int(mine.address.rpartition(":")[2])
        async with relight.running("worker") as worker:
            await mine.client.execute_workflow(
                PruneStore.run, PRUNE, id="prune", task_queue="relight"
            )
            mine.server.process.kill()
            await mine.server.process.wait()
            async with own_fleet(tmp_path / "theirs", port) as theirs:
                assert theirs.address == mine.address
                handle = await theirs.client.start_workflow(
                    PruneStore.run, PRUNE, id="prune", task_queue="relight"
                )
                async with asyncio.timeout(60):
                    _, err = await worker.communicate()
                assert worker.returncode == 3, err
                assert mine.fleet_id in err.decode()
                assert theirs.fleet_id in err.decode()
                assert theirs.store.retention.pruned_before() is None
                await handle.terminate("the test has ended")
