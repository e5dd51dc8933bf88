"""A command works in one context: how that is found, named, saved and announced."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from starter.local.home import prepare_home
from tests.starter.stores import refused
from tests.support.command_line import typed_in
from tests.support.fleets import OwnFleet, own_fleet, serve_one

SET = ("settings", "set", "--unchecked", "default_release_tag")


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[OwnFleet]:
    async with own_fleet(tmp_path / "fleet" / ".relight") as fleet:
        serve_one(fleet.store)
        yield fleet


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[OwnFleet]:
    async with own_fleet(tmp_path / "other" / ".relight") as fleet:
        yield fleet


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that is no context."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


async def save(folder: Path, name: str, fleet: OwnFleet) -> None:
    added = await typed_in(folder, "context", "add", name, "--home", str(fleet.home))
    assert added.code == 0, added


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def release_of(fleet: OwnFleet) -> str | None:
    return fleet.store.fleet_settings.all().get("default_release_tag")


async def test_a_saved_context_in_use_works_from_everywhere_and_is_announced(
    fleet: OwnFleet, empty: Path
) -> None:
    await save(empty, "prod", fleet)
    refused(await typed_in(empty, "fleet", "status"), 3, "`relight context use`", "prod")
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    reads = await typed_in(empty, "fleet", "status", "--json")
    assert (reads.code, reads.err) == (0, "")
    assert [route["route_id"] for route in reads.json["routes"]] == ["east-1"]
    changes = await typed_in(empty, *SET, "v0.0.74")
    assert changes.code == 0, changes
    first = f"context prod ({fleet.home}, fleet {fleet.fleet_id[:8]})"
    assert changes.err.splitlines()[0] == first
    assert release_of(fleet) == "v0.0.74"
    # Through Temporal as well, and with pure JSON on standard output.
    applied = await typed_in(empty, "schedule", "apply", "--json")
    assert (applied.code, applied.err.splitlines()) == (0, [first])
    assert "relight/reconcile" in applied.json["added"]
    assert (await typed_in(empty, "schedule", "list", "--json")).err == ""
    assert files_in(empty) == []


async def test_the_folder_goes_before_the_context_in_use_and_a_name_before_both(
    fleet: OwnFleet, other: OwnFleet, empty: Path
) -> None:
    await save(empty, "prod", fleet)
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    here = other.home.parent
    changed = await typed_in(here, *SET, "v0.0.75")
    assert changed.err.splitlines()[0].startswith(f"context local ({other.home}, fleet")
    assert (release_of(fleet), release_of(other)) == (None, "v0.0.75")
    named = await typed_in(here, "--context", "prod", *SET, "v0.0.73")
    assert named.err.splitlines()[0].startswith("context prod ")
    assert (release_of(fleet), release_of(other)) == ("v0.0.73", "v0.0.75")
    variable = await typed_in(here, *SET, "v0.0.72", RELIGHT_CONTEXT="prod")
    assert variable.err.splitlines()[0].startswith("context prod ")
    home = {"RELIGHT_HOME": str(other.home)}
    environment = await typed_in(empty, *SET, "v0.0.76", **home)
    assert environment.err.splitlines()[0].startswith(f"context environment ({other.home}, ")
    assert (release_of(fleet), release_of(other)) == ("v0.0.72", "v0.0.76")
    local = await typed_in(empty, "--context", "local", "fleet", "status")
    refused(local, 3, str(empty / ".relight"), "is no home of Relight")
    shown = await typed_in(here, "context", "list", "--json")
    assert [(row["name"], row["here"], row["in_use"]) for row in shown.json] == [
        ("local", True, False),
        ("prod", False, True),
    ]


async def test_nothing_is_taken_from_two_contexts(
    fleet: OwnFleet, other: OwnFleet, empty: Path
) -> None:
    await save(empty, "prod", fleet)
    for name, value in (
        ("RELIGHT_HOME", str(other.home)),
        ("RELIGHT_STORE_URL", other.store_url),
        ("TEMPORAL_ADDRESS", other.address),
        ("RELIGHT_SSH__CLIENT_KEY", str(other.home / "ssh_client_key")),
    ):
        ended = await typed_in(empty, "--context", "prod", *SET, "v0.0.74", **{name: value})
        refused(ended, 3, "--context names the context prod", name, "Nothing was done")
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    # A part of another context makes it that one; nothing is added from the one in use.
    ended = await typed_in(empty, *SET, "v0.0.74", TEMPORAL_ADDRESS=other.address)
    refused(ended, 3, "there is no fleet here", "TEMPORAL_ADDRESS is set and RELIGHT_HOME is not")
    ended = await typed_in(empty, *SET, "v0.0.74", RELIGHT_STORE_URL=other.store_url)
    refused(ended, 3, "no Temporal is set")
    assert (release_of(fleet), release_of(other)) == (None, None)
    # Variables for another server configure no saved context's.
    ended = await typed_in(empty, "schedule", "list", TEMPORAL_NAMESPACE="other")
    assert ended.code == 0, ended


async def test_a_context_with_the_store_of_one_fleet_and_the_temporal_of_another_is_refused(
    fleet: OwnFleet, other: OwnFleet, empty: Path
) -> None:
    add = ("context", "add", "mixed", "--store-url", fleet.store_url)
    assert (await typed_in(empty, *add, "--temporal-address", other.address)).code == 0
    for words in (("fleet", "status"), (*SET, "v0.0.74"), ("schedule", "list"), ("worker",)):
        ended = await typed_in(empty, "--context", "mixed", *words)
        refused(ended, 3, fleet.fleet_id, other.fleet_id)
    assert await fleet.workflows() == await other.workflows() == 0


async def test_a_context_names_a_store_and_a_server_without_a_home(
    fleet: OwnFleet, empty: Path
) -> None:
    add = ("context", "add", "prod", "--store-url", fleet.store_url)
    assert (await typed_in(empty, *add, "--temporal-address", fleet.address)).code == 0
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    shown = (await typed_in(empty, "context", "show", "--json")).json
    assert (shown["name"], shown["fleet"]) == ("prod", fleet.fleet_id)
    assert shown["chosen_by"] == "`relight context use`"
    changed = await typed_in(empty, *SET, "v0.0.74")
    store = fleet.home / "fleet.db"
    assert changed.err.splitlines()[0] == f"context prod ({store}, fleet {fleet.fleet_id[:8]})"
    # A namespace of its own, not that of the environment.
    assert (await typed_in(empty, "schedule", "list", TEMPORAL_NAMESPACE="other")).code == 0
    assert files_in(empty) == []


async def test_only_up_and_init_make_a_home_and_never_in_the_context_in_use(
    fleet: OwnFleet, empty: Path
) -> None:
    await save(empty, "prod", fleet)
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    before = files_in(fleet.home)
    made = await typed_in(empty, "init", "--json")
    assert made.code == 0, made
    home = empty / ".relight"
    assert made.err.splitlines()[0] == f"context local ({home}, no fleet yet)"
    assert made.json["home"] == str(home)
    assert made.json["fleet"] != fleet.fleet_id
    assert files_in(fleet.home) == before
    down = await typed_in(empty.parent, "down")
    assert "context local" in down.err
    assert (await typed_in(empty, "schedule", "list")).code == 3
    assert (await typed_in(fleet.home.parent, "schedule", "list")).code == 0


async def test_contexts_are_listed_shown_removed_and_hold_no_secret(
    fleet: OwnFleet, empty: Path
) -> None:
    refused(await typed_in(empty, "context", "show"), 3, "there is no fleet here", "`relight up`")
    assert "no contexts" in (await typed_in(empty, "context", "list")).out
    assert not (empty.parent / "config").exists()
    await save(empty, "prod", fleet)
    file = empty.parent / "config" / "relight" / "contexts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == {"contexts": {"prod": {"home": str(fleet.home)}}}
    add = ("context", "add")
    again = await typed_in(empty, *add, "prod", "--home", str(fleet.home))
    refused(again, 3, "there is a context prod already")
    for words, text in (
        (("local", "--home", str(fleet.home)), "means something already"),
        (("x", "--home", str(empty / "nothing")), "is no home of Relight"),
        (("x", "--store-url", fleet.store_url), "--temporal-address"),
        (("x", "--store-url", "sqlite:///fleet.db"), "whole path"),
        (("x", "--store-url", "postgresql://u:hunter2@db/r"), "has a password"),
        (("x", "--home", str(fleet.home), "--temporal-config-file", "none.toml"), "no file"),
    ):
        ended = await typed_in(empty, *add, *words)
        refused(ended, 2, text)
        assert "hunter2" not in ended.said
    refused(await typed_in(empty, "context", "use", "nope"), 2, "no context nope", "there: prod")
    refused(await typed_in(empty, "--context", "nope", "fleet", "status"), 2, "no context nope")
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    assert "prod" in (await typed_in(empty, "context", "show")).out
    assert (await typed_in(empty, "context", "use", "local")).code == 0
    refused(await typed_in(empty, "fleet", "status"), 3, "there is no fleet here")
    assert (await typed_in(empty, "context", "use", "prod")).code == 0
    removed = await typed_in(empty, "context", "remove", "prod")
    assert "no context is in use" in removed.out
    refused(await typed_in(empty, "fleet", "status"), 3, "there is no fleet here")
    assert (fleet.home / "fleet.db").exists()


async def test_a_file_of_contexts_that_cannot_be_read_is_said_and_not_overwritten(
    fleet: OwnFleet, empty: Path
) -> None:
    file = empty.parent / "config" / "relight" / "contexts.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    for words in (
        ("fleet", "status"),
        ("context", "list"),
        ("context", "add", "x", "--home", str(fleet.home)),
    ):
        refused(await typed_in(empty, *words), 3, str(file), "cannot be read")
    assert file.read_text() == "{"
    # It is not needed where the folder is the context.
    assert (await typed_in(fleet.home.parent, "fleet", "status")).code == 0


async def test_a_context_whose_home_is_gone_is_refused(empty: Path) -> None:
    home = empty.parent / "gone"
    prepare_home(home)
    assert (await typed_in(empty, "context", "add", "old", "--home", str(home))).code == 0
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    for words in (("fleet", "status"), (*SET, "v0.0.74"), ("doctor",), ("worker",)):
        ended = await typed_in(empty, "--context", "old", *words)
        refused(ended, 3, str(home), "of the context old")
    assert not home.exists()
