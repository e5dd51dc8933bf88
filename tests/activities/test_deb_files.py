"""How a host comes to a release: by apt, or by the address of its file."""

import pytest

from activities.deb_files import deb_file, deb_of
from messages.release import Artifact, Release
from remote.deb_file import DebFile
from repositories.errors import ReleaseUnknownError

URL = "https://files.example/lantern-box_0.0.74_{}.deb"


def release(*artifacts: tuple[str, str]) -> Release:
    return Release(
        tag="v0.0.74",
        version="0.0.74",
        package="lantern-box",
        source="github:owner/name",
        artifacts=tuple(
            Artifact(architecture=architecture, filename=name, sha256="0" * 64, size_bytes=7)
            for architecture, name in artifacts
        ),
    )


def test_a_file_with_an_address_is_fetched_for_the_hosts_architecture() -> None:
    both = release(("amd64", URL.format("amd64")), ("arm64", URL.format("arm64")))
    assert deb_of(both, "arm64") == DebFile(URL.format("arm64"), "0" * 64, 7, "arm64")


def test_a_file_for_all_architectures_is_fetched_by_each() -> None:
    deb = deb_of(release(("all", URL.format("all"))), "riscv64")
    assert deb == DebFile(URL.format("all"), "0" * 64, 7, "all")


def test_a_host_of_another_architecture_is_refused_and_never_left_to_apt() -> None:
    with pytest.raises(ReleaseUnknownError, match=r"riscv64 in github:owner/name: only for amd64"):
        deb_of(release(("amd64", URL.format("amd64"))), "riscv64")


@pytest.mark.parametrize("architecture", ["amd64", "riscv64"])
def test_what_lies_in_a_pool_is_found_by_apt(architecture: str) -> None:
    assert deb_of(release(("amd64", "pool/main/x.deb")), architecture) is None
    assert deb_of(release(), architecture) is None


def test_a_plan_of_an_older_worker_means_apt() -> None:
    assert deb_file(None) is None
