"""What does not exist is refused when it is said, and nothing is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from relight.store.store import Store
from tests.starter.in_process import InProcess
from tests.starter.stores import refused, serve_all
from tests.support.command_line import Ended
from tests.support.lab_api import lab_api_alone

PIN = ("exclude", "add", "--route", "east-1", "--for", "2d", "--reason", "it leaks", "--pin")
NAMING_A_RELEASE: Sequence[tuple[str, ...]] = (
    ("settings", "set", "default_release_tag"),
    ("track", "set", "beta", "--release"),
    PIN,
    ("rollout", "plan"),
)
NOBODY = {"RELIGHT_REPOSITORY__URL": "http://127.0.0.1:1"}


@pytest.fixture
def one_route(store: Store) -> Store:
    serve_all(store, "east-1")
    return store


def written(store: Store) -> tuple[object, ...]:
    """Return what a command could have written."""
    return (
        store.fleet_settings.all(),
        store.tracks.list(),
        store.exclusions.list(),
        store.pool_sizes.list(),
        store.events.list(),
    )


def refused_unwritten(
    store: Store, before: tuple[object, ...], ended: Ended, code: int, *texts: str
) -> None:
    refused(ended, code, *texts)
    assert written(store) == before


@pytest.mark.parametrize("words", NAMING_A_RELEASE, ids=" ".join)
async def test_a_release_that_the_repository_lacks_is_bad_input(
    relight: InProcess, one_route: Store, published: Mapping[str, str], words: tuple[str, ...]
) -> None:
    before = written(one_route)
    ended = await relight.where(**published)(*words, "v9.9.9")
    newest = "0.0.74"
    refused_unwritten(one_route, before, ended, 2, "v9.9.9", newest, "`relight release list`")


@pytest.mark.parametrize("words", NAMING_A_RELEASE, ids=" ".join)
async def test_a_release_is_refused_while_the_repository_does_not_answer_unless_unchecked(
    relight: InProcess, one_route: Store, published: Mapping[str, str], words: tuple[str, ...]
) -> None:
    before, relight = written(one_route), relight.where(**{**published, **NOBODY})
    ended = await relight(*words, "v9.9.9")
    refused_unwritten(one_route, before, ended, 3, "http://127.0.0.1:1", "--unchecked")
    ended = await relight(*words, "v9.9.9", "--unchecked")
    assert ended.code == 0, ended
    assert "not checked: whether the repository has v9.9.9" in ended.err


async def test_without_a_repository_set_the_refusal_names_the_setting(
    relight: InProcess, one_route: Store
) -> None:
    before = written(one_route)
    ended = await relight("settings", "set", "default_release_tag", "v0.0.74")
    refused_unwritten(one_route, before, ended, 3, "RELIGHT_REPOSITORY__URL", "--unchecked")


async def test_a_track_without_a_new_release_needs_no_repository(
    relight: InProcess, store: Store
) -> None:
    assert (await relight("track", "set", "beta")).notes == []
    assert [each.name for each in store.tracks.list()] == ["beta", "stable"]


async def test_a_pool_at_a_location_that_does_not_exist_is_bad_input(
    relight: InProcess, store: Store, tmp_path: Path
) -> None:
    before = written(store)
    async with lab_api_alone(tmp_path) as lab:
        relight = relight.where(**lab)
        ended = await relight("pool", "set", "vultr", "eu-1", "1")
        refused_unwritten(store, before, ended, 2, "no driver for a provider vultr", "lab")
        ended = await relight("pool", "set", "lab", "eu-9", "1")
        refused_unwritten(store, before, ended, 2, "eu-9", "its regions: lab-east, lab-west")
        assert (await relight("pool", "set", "lab", "lab-west", "1")).code == 0
    assert [(each.region, each.size) for each in store.pool_sizes.list()] == [("lab-west", 1)]


async def test_a_pool_is_refused_while_its_provider_does_not_answer_unless_unchecked(
    relight: InProcess, store: Store, tmp_path: Path
) -> None:
    before = written(store)
    (tmp_path / "token").write_text("a token")
    deaf = relight.where(
        RELIGHT_LAB__URL="http://127.0.0.1:1", RELIGHT_LAB__TOKEN_FILE=str(tmp_path / "token")
    )
    words = ("pool", "set", "lab", "lab-east", "1")
    refused_unwritten(store, before, await deaf(*words), 3, "not known whether", "--unchecked")
    unset = await relight(*words)
    refused_unwritten(store, before, unset, 3, "lab is not configured here", "--unchecked")
    ended = await deaf(*words, "--unchecked")
    assert ended.code == 0, ended
    assert "not checked: whether there is a region lab/lab-east" in ended.err


async def test_a_pool_is_emptied_without_asking_its_provider(
    relight: InProcess, store: Store
) -> None:
    ended = await relight("pool", "set", "lab", "closed", "0")
    assert (ended.code, ended.notes) == (0, [])


async def test_a_pool_larger_than_the_limit_is_bad_input(relight: InProcess, store: Store) -> None:
    before = written(store)
    words = ("pool", "set", "lab", "lab-east")
    ended = await relight(*words, "51", "--unchecked")
    refused_unwritten(store, before, ended, 2, "50 machines, not 51", "RELIGHT_POOL__MAX_SIZE")
    assert (await relight(*words, "50", "--unchecked")).code == 0
    more = relight.where(RELIGHT_POOL__MAX_SIZE="60")
    assert (await more(*words, "51", "--unchecked")).code == 0


@pytest.mark.parametrize("words", NAMING_A_RELEASE, ids=" ".join)
async def test_an_exact_version_is_a_release_and_its_epoch_counts(
    relight: InProcess, one_route: Store, published: Mapping[str, str], words: tuple[str, ...]
) -> None:
    relight = relight.where(**published)
    assert (await relight(*words, "0.0.74")).code == 0
    before = written(one_route)
    for other in ("1:0.0.74", "0.0.74-1", "0.0.74~rc1", "15.20"):
        ended = await relight(*words, other)
        refused_unwritten(one_route, before, ended, 2, other, "`relight release list`")
