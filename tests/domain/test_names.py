"""The number at the end of a machine's key, and names by Debian's policy."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import (
    DebianVersion,
    PackageName,
    key_number,
    machine_key,
    rollout_tag,
    rollout_workflow_id,
)
from relight.domain.pool.pool import pool_machine_key

NUMBERS = st.integers(min_value=1, max_value=10**9)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(NAMES, NUMBERS)
def test_the_key_of_a_routes_machine_ends_with_its_generation(route_id, generation):
    assert key_number(machine_key(route_id, generation)) == generation


@given(NAMES, NAMES, NUMBERS)
def test_the_key_of_a_pool_machine_ends_with_its_number(provider, region, number):
    assert key_number(pool_machine_key(provider, region, number)) == number


@pytest.mark.parametrize("key", ["", "r-1-g", "r-1-g0", "r-g01", "7", "g7", "-g7x", "r-1-h2"])
def test_other_keys_have_no_number(key):
    assert key_number(key) == 0


# ---------------------------------------------------------------- Debian's names

_VERSION: TypeAdapter[str] = TypeAdapter(DebianVersion)
_PACKAGE: TypeAdapter[str] = TypeAdapter(PackageName)


def accepts(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


def dpkg_accepts(kind: str, text: str) -> bool:
    argv = ["dpkg", f"--validate-{kind}", "--", text]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "version", ["0.0.74", "1:2.0~rc.1-1", "1.0+", "0.0.74--1", "1-1", "7", "1.0-1~bpo12+1"]
)
def test_a_version_by_debians_policy_is_accepted(version):
    assert accepts(_VERSION, version)
    assert dpkg_accepts("version", version)


@pytest.mark.parametrize(
    "version",
    ["", "0.0.74-", "1:1-", "v1", "-1", "1:", ":1", "a:1", "1 ", "1\n", "1/2", "1_2", "1=1", "é"],
)
def test_what_apt_could_read_otherwise_is_no_version(version):
    assert not accepts(_VERSION, version)


@given(st.text("019aZ.+~:-", min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_dpkg_accepts_every_version_that_is_accepted(version):
    if accepts(_VERSION, version):
        assert dpkg_accepts("version", version)
    elif version[0].isdigit() and ":" not in version:
        assert not dpkg_accepts("version", version)


@given(st.from_regex(r"([0-9]:)?[0-9][0-9.~+-]{0,9}[0-9]", fullmatch=True), st.booleans())
def test_the_workflow_id_of_a_rollout_has_its_release(version, undo):
    for tag in (version, "v1.2.0-rc.1"):
        for scope in ("fleet", "track:beta"):
            workflow_id = rollout_workflow_id(tag, scope, undo=undo)
            assert rollout_tag(workflow_id) == tag
            assert workflow_id.count("/") == 2 + undo


@pytest.mark.parametrize("name", ["lantern-box", "g++", "0ad", "libc6.1", "x-"])
def test_a_package_name_by_debians_policy_is_accepted(name):
    assert accepts(_PACKAGE, name)
    assert dpkg_accepts("pkgname", name)


@pytest.mark.parametrize("name", ["", "a", "A1", "-o", "a b", "a=1", "a/b", "a:amd64", "a\n", "+a"])
def test_what_apt_could_read_otherwise_is_no_package_name(name):
    assert not accepts(_PACKAGE, name)
