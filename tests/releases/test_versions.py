"""Conversion between tags and Debian versions."""

import pytest
from debian.debian_support import Version
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import ReleaseTag
from relight.releases.versions import (
    assumed_version,
    is_exact,
    matching,
    oldest_first,
    tag_of,
    tags_of,
)

TAG: TypeAdapter[str] = TypeAdapter(ReleaseTag)

numbers = st.integers(0, 999)
words = st.text("abcrcdev0123456789", min_size=1, max_size=6)
pre_releases = st.lists(words, min_size=1, max_size=3).map(".".join)
tags = st.builds(
    lambda x, y, z, pre, build: f"v{x}.{y}.{z}" + (f"-{pre}" if pre else "") + build,
    numbers,
    numbers,
    numbers,
    st.none() | pre_releases,
    st.just("") | pre_releases.map("+{}".format),
)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v0.0.74", "0.0.74"),
        ("v1.2.0-rc.1", "1.2.0~rc.1"),
        ("v1.2.0-rc-1", "1.2.0~rc~1"),
        ("v1.2.0-rc.1+build.5", "1.2.0~rc.1+build.5"),
        ("v1.2.0.4", "1.2.0.4"),
    ],
)
def test_a_tag_has_one_debian_version(tag: str, version: str) -> None:
    assert assumed_version(tag) == version
    assert tag_of(version) == tag


@given(tags)
def test_every_tag_is_recovered_from_its_version(tag: str) -> None:
    assert tag_of(assumed_version(tag)) == tag


@given(
    st.from_regex(
        r"v[0-9]{1,9}(\.[0-9a-z]{1,9}){0,4}([-+~][0-9A-Za-z][0-9A-Za-z.~+-]{0,40})?", fullmatch=True
    )
)
def test_every_valid_tag_is_a_version_without_epoch_and_revision(tag: str) -> None:
    version = Version(assumed_version(TAG.validate_python(tag)))
    assert version.epoch is None
    assert version.debian_revision is None
    assert version.upstream_version == assumed_version(tag)


@given(tags, st.integers(1, 9), st.sampled_from(["1", "1+deb12u1", "0ubuntu2"]))
def test_epoch_and_revision_do_not_change_the_tag(tag: str, epoch: int, revision: str) -> None:
    version = assumed_version(tag)
    assert tag_of(f"{epoch}:{version}-{revision}") == tag_of(f"{version}-{revision}") == tag


@given(numbers, numbers, numbers, pre_releases)
def test_a_pre_release_sorts_before_its_release(x: int, y: int, z: int, pre: str) -> None:
    release = f"v{x}.{y}.{z}"
    before, after = assumed_version(f"{release}-{pre}"), assumed_version(release)
    assert oldest_first([after, before]) == [before, after]


@pytest.mark.parametrize("version", ["1.2.0-rc.1-1", "1.2.0+-1", "1:1.2~"])
def test_a_version_without_a_tag_is_a_tag_itself(version: str) -> None:
    assert TAG.validate_python(tag_of(version)) == version


@pytest.mark.parametrize(
    "version", ["1.22.1-9+deb12u11", "5:7.0.15-1~deb12u10", "15.20", "20261124", "0.0.74"]
)
def test_an_exact_version_is_a_tag_that_means_itself_alone(version: str) -> None:
    tag = TAG.validate_python(version)
    assert is_exact(tag)
    assert assumed_version(tag) == version
    available = [f"{version}+b1", f"9:{version}", f"{version}~rc", version]
    assert matching(tag, available) == [version]
    assert matching(tag, available[:3]) == []


@pytest.mark.parametrize(
    "text", ["", "v", "latest", "1.0-", "1:", "1.0 ", "1/2", "v1/2", "v1.2-", "v1..2", "1" * 129]
)
def test_what_is_neither_a_tag_nor_a_version_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TAG.validate_python(text)


def test_each_version_has_a_tag_of_its_own() -> None:
    versions = ["0.0.76-2", "0.0.76-1", "1:0.0.5-1", "2026.11", "1.2a"]
    assert tags_of(versions) == {
        "0.0.76-1": "0.0.76-1",
        "0.0.76-2": "v0.0.76",
        "1.2a": "v1.2a",
        "2026.11": "v2026.11",
        "1:0.0.5-1": "v0.0.5",
    }


def test_versions_sort_by_debians_rules() -> None:
    shuffled = ["0.0.100", "1:0.0.1", "0.0.99", "1.0.0~rc.1", "0.0.99-1", "1.0.0"]
    assert oldest_first(shuffled) == [
        "0.0.99",
        "0.0.99-1",
        "0.0.100",
        "1.0.0~rc.1",
        "1.0.0",
        "1:0.0.1",
    ]


@given(tags, st.lists(st.integers(1, 20), unique=True, max_size=4), st.booleans())
def test_the_exact_version_wins_over_its_revisions(
    tag: str, revisions: list[int], exact: bool
) -> None:
    upstream = assumed_version(tag)
    available = [f"{upstream}-{revision}" for revision in revisions] + ["0.0.1000-1"]
    if exact:
        assert matching(tag, [*available, upstream]) == [upstream]
    else:
        expected = [f"{upstream}-{revision}" for revision in sorted(revisions)]
        assert matching(tag, available) == expected
