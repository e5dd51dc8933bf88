"""How a host gets a release: with apt, or by downloading its file."""

import pytest

from activities.route.hot_swap import deb_of
from relight.domain.release import DebFile, Release
from relight.releases.errors import ReleaseUnknownError

URL = "https://files.example/lantern-box_0.0.74_{}.deb"


def release(*deb_files: tuple[str, str]) -> Release:
    return Release(
        tag="v0.0.74",
        version="0.0.74",
        package="lantern-box",
        source="github:owner/name",
        deb_files=tuple(
            DebFile(architecture=architecture, filename=name, sha256="0" * 64, size_bytes=7)
            for architecture, name in deb_files
        ),
    )


def test_a_file_with_a_url_is_downloaded_for_the_hosts_architecture() -> None:
    both = release(("amd64", URL.format("amd64")), ("arm64", URL.format("arm64")))
    assert deb_of(both, "arm64") == both.deb_files[1]


def test_a_file_for_all_architectures_is_downloaded_by_each() -> None:
    for_all = release(("all", URL.format("all")))
    assert deb_of(for_all, "riscv64") == for_all.deb_files[0]


def test_a_host_of_another_architecture_is_refused_and_does_not_use_apt() -> None:
    with pytest.raises(ReleaseUnknownError, match=r"riscv64 in github:owner/name: only for amd64"):
        deb_of(release(("amd64", URL.format("amd64"))), "riscv64")


@pytest.mark.parametrize("architecture", ["amd64", "riscv64"])
def test_a_file_in_a_repository_is_installed_with_apt(architecture: str) -> None:
    assert deb_of(release(("amd64", "pool/main/x.deb")), architecture) is None
    assert deb_of(release(), architecture) is None
