"""`relight image changed`, `label` and `matrix`, on real git checkouts and a file of providers."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.image_sources import IMAGE_INPUTS
from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.support.checkout import Checkout
from tests.support.fake_github_actions import REPOSITORY, TOKEN, FakeActions, Trap, fake_actions

ZEROS = "0" * 40


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path / "checkout")
    monkeypatch.chdir(made.folder)
    return made


@pytest.fixture
def github() -> Iterator[FakeActions]:
    with fake_actions() as made:
        yield made


# ------------------------------------------------------------------ changed


@pytest.mark.parametrize(
    "name",
    [
        "CHANGELOG.md",
        "images/README.md",
        "lab/x",
        "relight/images/check.sh",
        "relight/images/staging.py",
        "relight/releases/index.py",
        "worker.py",
    ],
)
async def test_a_release_and_other_code_change_no_input(
    checkout: Checkout, relight: InProcess, name: str
):
    checkout.commit(name, "changed")
    checkout.git("tag", "v0.0.75")
    ended = await relight("image", "changed", "--since", "HEAD~1", "--json")
    assert (ended.code, ended.json["changed"], ended.json["files"]) == (0, False, [])
    ended = await relight("image", "changed", "--since", "HEAD~1", "--outputs")
    assert ended.out == "changed=false\n"


@pytest.mark.parametrize(
    "name",
    ["images/contract.yaml", "images/packer/x.json", "relight/images/build.py", "relight/images/x"],
)
async def test_a_changed_input_is_named(checkout: Checkout, relight: InProcess, name: str):
    checkout.commit(name, "changed")
    checkout.commit("worker.py", "later")
    ended = await relight("image", "changed", "--since", "HEAD~2", "--json")
    assert (ended.code, ended.json["changed"], ended.json["files"]) == (0, True, [name])
    ended = await relight("image", "changed", "--since", "HEAD~2", "--outputs")
    assert ended.out == "changed=true\n"
    assert name in (await relight("image", "changed", "--since", "HEAD~2")).out


async def test_a_file_that_is_moved_away_or_deleted_counts(checkout: Checkout, relight: InProcess):
    (checkout.folder / "old").mkdir()
    checkout.git("mv", "images/contract.yaml", "old/contract.yaml")
    checkout.git("commit", "--quiet", "--message", "move")
    ended = await relight("image", "changed", "--since", "HEAD~1", "--json")
    assert ended.json["files"] == ["images/contract.yaml"]


async def test_what_is_not_committed_counts_and_names_stay_whole(
    checkout: Checkout, relight: InProcess
):
    checkout.write("images/contract.yaml", "packages: [nftables]")
    checkout.write("images/a file\nwith ä", "new")
    checkout.write(".gitignore", "ignored\n")
    checkout.write("images/ignored", "not one")
    ended = await relight("image", "changed", "--since", "HEAD", "--json")
    assert ended.json["files"] == ["images/a file\nwith ä", "images/contract.yaml"]


async def test_it_is_the_whole_checkout_from_each_of_its_folders(
    checkout: Checkout, relight: InProcess, monkeypatch: pytest.MonkeyPatch
):
    checkout.commit("images/contract.yaml", "changed")
    checkout.commit("docs/page.md", "a page")
    monkeypatch.chdir(checkout.folder / "docs")
    ended = await relight("image", "changed", "--since", "HEAD~2", "--json")
    assert ended.json["files"] == ["images/contract.yaml"]


async def test_a_revert_is_no_change(checkout: Checkout, relight: InProcess):
    checkout.commit("images/contract.yaml", "packages: [wrong]")
    checkout.git("revert", "--no-edit", "HEAD")
    ended = await relight("image", "changed", "--since", "HEAD~2", "--outputs")
    assert ended.out == "changed=false\n"


@pytest.mark.parametrize("since", [ZEROS, "1" * 40])
async def test_a_commit_that_is_not_here_counts_as_a_change(
    checkout: Checkout, relight: InProcess, since: str
):
    ended = await relight("image", "changed", "--since", since, "--outputs")
    assert (ended.code, ended.out) == (0, "changed=true\n")
    assert f"no commit {since} here" in ended.said


@pytest.mark.parametrize("since", ["v9", "", "--output=written", "HEAD:images"])
async def test_a_revision_that_is_none_is_refused(
    checkout: Checkout, relight: InProcess, since: str
):
    refused(await relight("image", "changed", f"--since={since}"), 2, "has no revision")
    assert not (checkout.folder / "written").exists()


async def test_outside_of_a_checkout_it_is_refused(
    relight: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    refused(await relight("image", "changed", "--since", "HEAD"), 3, "not a git repository")


async def test_another_service_names_its_own_inputs(checkout: Checkout, relight: InProcess):
    checkout.commit("image/contract.yaml", "of a service")
    since = ("image", "changed", "--since", "HEAD~1", "--outputs")
    assert (await relight(*since)).out == "changed=false\n"
    assert (await relight(*since, "--input", "image")).out == "changed=true\n"


def test_the_inputs_of_this_checkout_are_its_code_and_no_page():
    listed = subprocess.run(
        ["git", "ls-files", "--", *IMAGE_INPUTS],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "relight/images/__init__.py" in listed
    assert [each for each in listed if each.endswith(".md")] == []


async def test_a_failed_or_replaced_run_loses_no_change(
    checkout: Checkout, relight: InProcess, github: FakeActions
):
    in_a_job = relight.where(
        GITHUB_API_URL=github.url,
        GITHUB_REPOSITORY=REPOSITORY,
        GITHUB_TOKEN=TOKEN,
        GITHUB_WORKFLOW_REF=f"{REPOSITORY}/.github/workflows/image.yml@refs/heads/main",
        GITHUB_REF_NAME="main",
    )
    words = ("image", "changed", "--since-success", "--outputs")
    assert (await in_a_job(*words)).out == "changed=true\n"
    built = checkout.git("rev-parse", "HEAD")
    github.runs = [("main", "success", built)]
    assert (await in_a_job(*words)).out == "changed=false\n"
    failed = checkout.commit("images/contract.yaml", "changed")
    checkout.commit("worker.py", "changed")
    github.runs += [("main", "failure", failed), ("other", "success", failed)]
    assert (await in_a_job(*words)).out == "changed=true\n"
    github.traps = {("GET", "/runs"): [Trap.NO_PERMISSION]}
    refused(await in_a_job(*words), 1, "not accessible by integration")


async def test_one_revision_is_given(relight: InProcess):
    refused(await relight("image", "changed"), 2, "--since REV or --since-success")
    both = ("image", "changed", "--since", "HEAD", "--since-success")
    refused(await relight(*both), 2, "and not both")
    alone = ("image", "changed", "--since-success")
    refused(await relight.where(GITHUB_WORKFLOW_REF="")(*alone), 2, "GITHUB_WORKFLOW_REF")


# -------------------------------------------------------------------- label


async def test_the_label_is_the_newest_tag_by_version_without_its_v(
    checkout: Checkout, relight: InProcess
):
    for tag in ("v0.0.9", "v0.0.10", "v0.0.10-rc.1", "images-2", "v1.x-beta!", "release-9"):
        checkout.git("tag", tag)
    ended = await relight("image", "label")
    assert (ended.code, ended.out) == (0, "0.0.10\n")
    assert (await relight("image", "label", "--outputs")).out == "label=0.0.10\n"


async def test_commits_that_changed_an_input_are_counted(checkout: Checkout, relight: InProcess):
    checkout.git("tag", "--annotate", "v0.0.74", "--message", "release")
    checkout.commit("worker.py", "no input")
    assert (await relight("image", "label")).out == "0.0.74\n"
    checkout.commit("images/contract.yaml", "changed")
    checkout.commit("images/contract.yaml", "changed twice")
    ended = await relight("image", "label", "--json")
    assert ended.json == {"label": "0.0.74-2", "tag": "v0.0.74", "changes": 2}


async def test_a_branch_of_the_tags_name_does_not_count(checkout: Checkout, relight: InProcess):
    checkout.git("tag", "v0.0.74")
    checkout.commit("images/contract.yaml", "changed")
    checkout.git("branch", "v0.0.74")
    assert (await relight("image", "label")).out == "0.0.74-1\n"


async def test_a_typed_label_is_taken_and_a_typed_tag_is_refused(relight: InProcess):
    assert (await relight("image", "label", "0.0.74")).out == "0.0.74\n"
    refused(await relight("image", "label", "v0.0.74"), 2, "a label has no v: 0.0.74")
    refused(await relight("image", "label", "0.0.74 $(id)"), 2, "is no label")


async def test_an_empty_label_is_as_none(checkout: Checkout, relight: InProcess):
    checkout.git("tag", "v0.0.74")
    assert (await relight("image", "label", "")).out == "0.0.74\n"


async def test_without_a_tag_or_a_whole_history_there_is_no_label(
    checkout: Checkout, relight: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    refused(await relight("image", "label"), 3, "has no release tag")
    checkout.git("tag", "v0.0.74")
    checkout.commit("images/contract.yaml", "changed")
    shallow = tmp_path / "shallow"
    checkout.git("clone", "--quiet", "--depth", "1", f"file://{checkout.folder}", str(shallow))
    monkeypatch.chdir(shallow)
    checkout.git("-C", str(shallow), "fetch", "--quiet", "--tags", "--depth", "1")
    refused(await relight("image", "label"), 3, "is a shallow clone")


async def test_a_newest_tag_that_makes_no_label_is_named(checkout: Checkout, relight: InProcess):
    checkout.git("tag", "v1.2.0+build.5")
    refused(await relight("image", "label"), 3, "the newest tag, v1.2.0+build.5, makes no label")


# ------------------------------------------------------------------- matrix


@pytest.fixture
def fleet(relight: InProcess) -> Path:
    relight.home.mkdir()
    file = relight.home / "providers.toml"
    # The files with tokens do not exist: no secret is read.
    file.write_text(
        """
[linode]
token_file = "nowhere"
[linode.locations.us-east]
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"
[linode.locations.eu-arm]
architecture = "arm64"
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"
[linode.locations.ap-west]
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"

[gcore]
api_key_file = "nowhere"
project_id = 1
[gcore.locations.luxembourg]
shapes = ["g1-standard-1-2"]
image_prefix = "relight-base-"
extra = { region_id = 76 }
"""
    )
    return file


async def test_an_image_for_each_architecture_with_the_regions_of_the_file(
    relight: InProcess, fleet: Path
):
    ended = await relight("image", "matrix", "--label", "0.0.74", "--json")
    assert ended.code == 0, ended
    assert ended.json == [
        {
            "architecture": "amd64",
            "image": "relight-base-0.0.74-amd64",
            "providers": {"gcore": ["luxembourg"], "linode": ["ap-west", "us-east"]},
        },
        {
            "architecture": "arm64",
            "image": "relight-base-0.0.74-arm64",
            "providers": {"linode": ["eu-arm"]},
        },
    ]
    shown = await relight("image", "matrix")
    for word in ("gcore", "luxembourg", "ap-west, us-east", "eu-arm"):
        assert word in shown.out


async def test_the_output_is_the_matrix_of_a_job_on_one_line(relight: InProcess, fleet: Path):
    ended = await relight("image", "matrix", "--label", "0.0.74", "--outputs")
    [line] = ended.out.splitlines()
    name, _, value = line.partition("=")
    assert name == "matrix"
    assert json.loads(value)["include"] == [
        {
            "architecture": "amd64",
            "image": "relight-base-0.0.74-amd64",
            "providers": "gcore,linode",
            "regions": 3,
        },
        {
            "architecture": "arm64",
            "image": "relight-base-0.0.74-arm64",
            "providers": "linode",
            "regions": 1,
        },
    ]


async def test_a_fleet_of_two_hundred_regions_is_one_line(relight: InProcess):
    offered = {"shapes": ["g6"], "image_prefix": "relight-base-"}
    fleet = relight.where(
        RELIGHT_PROVIDERS__LINODE__TOKEN_FILE="nowhere",
        RELIGHT_PROVIDERS__LINODE__LOCATIONS=json.dumps({f"r{n}": offered for n in range(200)}),
    )
    ended = await fleet("image", "matrix", "--label", "0.0.74", "--outputs")
    [line] = ended.out.splitlines()
    assert json.loads(line.removeprefix("matrix="))["include"][0]["regions"] == 200


async def test_a_fleet_without_a_cloud_is_refused(relight: InProcess):
    refused(await relight("image", "matrix"), 2, "no cloud is configured")


async def test_settings_that_cannot_be_used_are_named(relight: InProcess):
    locations = json.dumps({"eu-arm": {"shapes": ["g6"], "architecture": "ARM", "image": "x"}})
    fleet = relight.where(RELIGHT_PROVIDERS__LINODE__LOCATIONS=locations)
    refused(await fleet("image", "matrix"), 2, "linode.locations.eu-arm.architecture")


async def test_a_typed_tag_or_prefix_that_makes_no_name_is_refused(relight: InProcess, fleet: Path):
    refused(await relight("image", "matrix", "--label", "v0.0.74"), 2, "a label has no v")
    words = ("image", "matrix", "--label", "0.0.74", "--prefix", "Base")
    refused(await relight(*words), 2, "is no name of an image")
