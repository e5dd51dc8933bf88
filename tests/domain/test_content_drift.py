"""Other content under the same version of a package."""

import pytest

from relight.domain.drift import has_other_content
from relight.domain.release import DebFile, Release, rebuilt_architectures, with_files_of

A, B, C = "a" * 64, "b" * 64, "c" * 64


def release(**digests: str) -> Release:
    return Release(
        tag="v0.0.74",
        version="0.0.74-1",
        package="lantern-box",
        source="https://packages.example stable main",
        deb_files=tuple(
            DebFile(architecture=architecture, filename="x.deb", sha256=sha256, size_bytes=1)
            for architecture, sha256 in digests.items()
        ),
    )


@pytest.mark.parametrize(
    ("architecture", "sha256", "differs"),
    [
        ("amd64", A, False),
        ("amd64", B, True),  # that of another architecture
        ("arm64", B, False),
        ("arm64", C, True),
        ("amd64", "", False),  # the host does not know what it installed
        ("riscv64", C, False),  # the release says nothing of it
        ("all", A, False),
        ("all", C, True),
    ],
)
def test_a_host_with_other_content_has_drifted(architecture, sha256, differs):
    assert has_other_content(release(amd64=A, arm64=B), architecture, sha256) is differs


def test_a_package_for_every_architecture_has_one_content():
    declared = release(all=A)
    assert not has_other_content(declared, "amd64", A)
    assert has_other_content(declared, "amd64", B)
    assert has_other_content(declared, "all", B)


def test_a_rebuilt_version_is_told_by_architecture():
    recorded = release(amd64=A, arm64=B)
    assert rebuilt_architectures(recorded, release(amd64=A, arm64=C, riscv64=C)) == ("arm64",)
    assert rebuilt_architectures(recorded, release(amd64=A)) == ()
    merged = with_files_of(release(amd64=C), recorded)
    assert {each.architecture: each.sha256 for each in merged.deb_files} == {"amd64": C, "arm64": B}
