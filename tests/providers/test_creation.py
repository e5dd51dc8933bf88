"""What all drivers share in a creation: token, tags, user-data, and where there is room."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes, ValidationError

from devkit.simulated.cloud import FakeCloud
from relight.providers.driver import (
    MachineSpec,
    ProviderCapacityError,
    ProviderInvalidError,
    ProviderUnavailableError,
    UserDataLimit,
    require_user_data_fits,
)
from relight.providers.locations import Attempt, CapacityFallback, LocationSettings, attempts
from relight.providers.tags import as_texts, from_texts, read_tags, tags_of
from relight.providers.token import create_token

LOCATION = LocationSettings(zones=("a", "b"), shapes=("small", "big"), image="debian-12")
RUN = "8a1b4c62-0000-4000-8000-000000000000"


def spec(owner: str = "us", generation: int = 3, created_by: str = RUN) -> MachineSpec:
    return MachineSpec(
        region="east",
        user_data=SecretBytes(b"x"),
        owner=owner,
        generation=generation,
        created_by=created_by,
    )


def test_a_token_is_the_same_for_the_same_machine_and_no_other():
    tokens = {
        create_token(key, generation, zone, shape, SecretBytes(user_data))
        for key, generation, zone, shape, user_data in (
            ("r-1-g1", 1, "a", "small", b"x"),
            ("r-1-g1", 2, "a", "small", b"x"),
            ("r-1-g1", 1, "b", "small", b"x"),
            ("r-1-g1", 1, "a", "big", b"x"),
            ("r-1-g1", 1, "a", "small", b"y"),
            ("r-1-g11", 1, "a", "small", b"x"),
            ("r-1-g1", 11, "", "small", b"x"),
        )
    }
    assert len(tokens) == 7
    assert all(len(token) == 64 and token.isascii() and token.isalnum() for token in tokens)
    again = create_token("r-1-g1", 1, "a", "small", SecretBytes(b"x"))
    assert again in tokens


def test_tags_are_read_as_they_were_written():
    found = read_tags(tags_of("r-1-g3", spec()))
    assert found == ("us", "r-1-g3", 3, RUN)
    assert read_tags(tags_of("r-1-g3", spec(created_by=""))).created_by is None


@given(
    owner=st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?\Z"),
    generation=st.integers(1, 10**9 - 1),
)
def test_tags_that_are_texts_of_50_characters_are_read_as_they_were_written(
    owner: str, generation: int
):
    tags = tags_of("a" * 48 + f"-g{generation}", spec(owner, generation))
    texts = as_texts(tags, 50)
    assert all(len(text) <= 50 for text in texts)
    assert from_texts(["web", "env=prod", *reversed(texts)]) == {"env": "prod", **tags}


def test_tags_of_others_say_nothing():
    texts = ["relight-generation=²", "relight-owner=", "relight-owner.2=x", "=", "relight-key"]
    assert read_tags(from_texts(texts)) == (None, None, None, None)
    assert read_tags({"relight-generation": "9" * 5000}).generation is None


@pytest.mark.parametrize(("size", "is_encoded"), [(12, False), (16, True)])
def test_user_data_that_does_not_fit_is_refused_with_what_to_drop(size: int, is_encoded: bool):
    cloud = FakeCloud()
    cloud.user_data_limit = UserDataLimit(size, is_encoded=is_encoded)
    require_user_data_fits(cloud, "create r-1-g1", SecretBytes(b"x" * 12))
    with pytest.raises(ProviderInvalidError, match="RELIGHT_SERVICE__FILES") as refused:
        require_user_data_fits(cloud, "create r-1-g1", SecretBytes(("é" * 10).encode()))
    assert f"at most {size}" in str(refused.value)
    assert not refused.value.retryable


def test_a_location_is_tried_in_each_zone_before_the_next_shape():
    assert attempts(LOCATION) == (
        *(("a", "small"), ("b", "small")),
        *(("a", "big"), ("b", "big")),
    )
    without_zones = LOCATION.model_copy(update={"zones": ()})
    assert attempts(without_zones) == (("", "small"), ("", "big"))


@pytest.mark.parametrize(
    "values",
    [
        {"shapes": ["small"]},
        {"shapes": ["small"], "image": "i", "image_prefix": "p"},
        {"shapes": [], "image": "i"},
        {"shapes": ["sm all"], "image": "i"},
        {"shapes": ["small"], "image": "i", "zone": ["a"]},
    ],
)
def test_a_location_that_cannot_be_used_is_refused(values: dict[str, object]):
    with pytest.raises(ValidationError):
        LocationSettings.model_validate(values)


class Vendor:
    """Has room in some places, gives no answer in others, and keeps what was asked."""

    def __init__(self, full: str = "", silent: str = "") -> None:
        self.full, self.silent = full.split(), silent.split()
        self.asked: list[str] = []

    async def create(self, attempt: Attempt) -> str:
        place = f"{attempt.zone}/{attempt.shape}"
        self.asked.append(place)
        if place in self.silent:
            raise ProviderUnavailableError("cloud", "create", "no answer")
        if place in self.full:
            raise ProviderCapacityError("cloud", "create", f"no room in {attempt.zone}")
        return place


async def test_a_machine_is_created_in_the_first_place_with_room():
    vendor = Vendor(full="a/small b/small")
    assert await CapacityFallback("cloud").create("k", LOCATION, vendor.create) == "a/big"
    assert vendor.asked == ["a/small", "b/small", "a/big"]


async def test_without_room_anywhere_the_words_of_each_place_are_given():
    vendor = Vendor(full="a/small b/small a/big b/big")
    with pytest.raises(ProviderCapacityError) as refused:
        await CapacityFallback("cloud").create("k", LOCATION, vendor.create)
    assert "small in a: no room in a; small in b: no room in b; big in a" in str(refused.value)
    assert not refused.value.retryable


async def test_an_attempt_without_an_answer_is_the_first_one_the_next_time():
    """Place a has room again by then: to try it first would make a second machine."""
    fallback, vendor = CapacityFallback("cloud"), Vendor(full="a/small", silent="b/small")
    with pytest.raises(ProviderUnavailableError):
        await fallback.create("k", LOCATION, vendor.create)
    assert vendor.asked == ["a/small", "b/small"]
    again = Vendor()
    assert await fallback.create("k", LOCATION, again.create) == "b/small"
    assert again.asked == ["b/small"]
    assert await fallback.create("k", LOCATION, again.create) == "a/small"


async def test_an_attempt_that_is_cancelled_is_the_first_one_the_next_time():
    """As by the time limit of a creation: the request may have arrived."""
    fallback, reached = CapacityFallback("cloud"), asyncio.Event()

    async def create(attempt: Attempt) -> str:
        if attempt.zone == "a":
            raise ProviderCapacityError("cloud", "create", "no room")
        reached.set()
        return await asyncio.Future()

    task = asyncio.create_task(fallback.create("k", LOCATION, create))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = Vendor()
    assert await fallback.create("k", LOCATION, again.create) == "b/small"
    assert again.asked == ["b/small"]
