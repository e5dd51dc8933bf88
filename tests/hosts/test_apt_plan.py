"""The plan of an installation, from the output of a dry run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.install_plan import MAX_NAMED, InstallPlan, size
from relight.hosts.apt import RETRY_NOTICE
from relight.hosts.apt_plan import parse_plan

OUTPUT = """\
Inst never-mind (1.0 stable [amd64])
relight: retrying with all apt sources of this host
Reading package lists...
The following packages will be REMOVED:
  firewall
The following NEW packages will be installed:
  libdaemon
The following packages will be upgraded:
  lantern-box
The following packages will be DOWNGRADED:
  lantern-tools
1 upgraded, 1 newly installed, 1 downgraded, 1 to remove and 0 not upgraded.
Remv firewall [1.0]
Inst libdaemon (2.0 stable [amd64])
Inst lantern-box [5:0.0.73-1] (5:0.0.74-1 stable [amd64]) []
Inst lantern-tools [5:0.0.75-1] (5:0.0.74-1 stable [amd64])
Conf libdaemon (2.0 stable [amd64])
Need to get 41.3 kB of archives.
After this operation, 1,024 kB of additional disk space will be used.
'http://h.example/a.deb' libdaemon_2.0_amd64.deb 20672 MD5Sum:ff
'http://h.example/b.deb' lantern-box_0.0.74_amd64.deb 300 SHA256:52
relight: free in /usr: 67524268032
relight: free in /var/cache/apt/archives: 7
"""


def test_the_changes_and_the_sizes_are_found() -> None:
    plan = parse_plan(OUTPUT)
    assert plan == InstallPlan(
        installed=("libdaemon 2.0",),
        upgraded=("lantern-box 5:0.0.73-1 -> 5:0.0.74-1",),
        downgraded=("lantern-tools 5:0.0.75-1 -> 5:0.0.74-1",),
        removed=("firewall 1.0",),
        download_bytes=20972,
        disk_bytes=1024000,
        free_bytes=67524268032,
    )
    assert plan.words == (
        "installs libdaemon 2.0; upgrades lantern-box 5:0.0.73-1 -> 5:0.0.74-1; downgrades "
        "lantern-tools 5:0.0.75-1 -> 5:0.0.74-1; removes firewall 1.0; downloads 21.0 kB, takes "
        "1.0 MB of 67.5 GB free"
    )


def test_an_installation_that_changes_nothing_is_told() -> None:
    output = "After this operation, 2,048 B disk space will be freed.\n"
    assert parse_plan(output) == InstallPlan(disk_bytes=-2048)
    assert parse_plan("").words == "changes no package; downloads 0 B, takes 0 B"


def test_so_many_packages_are_named_and_the_others_counted() -> None:
    output = "".join(f"Inst p{number} (1 stable [amd64])\n" for number in range(MAX_NAMED + 7))
    plan = parse_plan(output)
    assert (len(plan.installed), plan.unnamed) == (MAX_NAMED, 7)
    assert "changes 7 more packages" in plan.words


@pytest.mark.parametrize("end", ["", "\n"])
@given(text=st.text())
def test_any_output_gives_a_plan(end: str, text: str) -> None:
    for output in (text, f"Inst a{text}", f"After this operation, {text}", RETRY_NOTICE + text):
        plan = parse_plan(output + end)
        assert len(plan.installed) <= MAX_NAMED
        assert plan.words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (20672, "20.7 kB"), (-2048, "-2.0 kB")]
)
def test_a_size_is_in_words(count: int, words: str) -> None:
    assert size(count) == words
