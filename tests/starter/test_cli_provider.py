"""`relight provider`: what is configured, and what a provider says of us."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.domain.base import Origin
from relight.domain.route import RouteStatus
from starter.cli.provider_trial import trial_input, try_provider
from starter.cli.waiting import Patience
from tests.providers.fakes.base import Trap
from tests.providers.fakes.linode import TOKEN, LinodeFake
from tests.starter.in_process import InProcess
from tests.starter.stores import refused


@pytest.fixture
def relight(tmp_path: Path) -> InProcess:
    made = InProcess(tmp_path / "home")
    made.home.mkdir()
    return made


@pytest.fixture
def fake() -> Iterator[LinodeFake]:
    fake = LinodeFake()
    with fake.served():
        yield fake


@pytest.fixture
def configured(relight: InProcess, fake: LinodeFake) -> Path:
    (relight.home / "token").write_text(TOKEN)
    file = relight.home / "providers.toml"
    file.write_text(
        f"""
[linode]
url = "{fake.url}/v4"
token_file = "token"

[linode.locations.us-east]
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"
"""
    )
    return file


async def test_without_credentials_it_names_the_variables_and_exits_2(relight: InProcess):
    ended = await relight("provider", "check", "linode")
    refused(ended, 2, "RELIGHT_PROVIDERS__LINODE__TOKEN_FILE is not set, nor linode.token_file in")
    assert "RELIGHT_PROVIDERS__LINODE__LOCATIONS is not set" in ended.said
    assert str(relight.home / "providers.toml") in ended.said.replace("\n", "")


async def test_an_unknown_provider_is_refused_with_the_known_ones(relight: InProcess):
    refused(await relight("provider", "check", "linod"), 2, "no driver linod; the drivers: lab,")


async def test_a_lab_that_is_not_there_is_named_by_its_variables(relight: InProcess):
    refused(await relight("provider", "check", "lab"), 2, "RELIGHT_LAB__URL")


async def test_every_driver_is_listed(relight: InProcess, configured: Path):
    ended = await relight("provider", "list", "--json")
    assert ended.code == 0, ended
    found = {each["name"]: each for each in ended.json}
    assert found["linode"]["configured"]
    assert [each["name"] for each in found["linode"]["regions"]] == ["us-east"]
    assert not found["lab"]["configured"]
    shown = await relight("provider", "list")
    assert "us-east" in shown.out


async def test_settings_that_cannot_be_used_are_listed_as_such(
    relight: InProcess, configured: Path
):
    (relight.home / "token").unlink()
    [found] = [
        each for each in (await relight("provider", "list", "--json")).json if each["problem"]
    ]
    assert found["name"] == "linode"
    assert "token cannot be read" in found["problem"]


async def test_a_check_shows_rights_images_and_limits(relight: InProcess, configured: Path):
    ended = await relight("provider", "check", "linode")
    assert ended.code == 0, ended
    for text in (
        *("account: relight", "linodes:read_write", "private/101", "us-east", "amd64"),
        *("machines, of any owner: 0", "user-data: 65535 bytes"),
    ):
        assert text in ended.out
    checked = (await relight("provider", "check", "linode", "--json")).json
    assert checked["trial"] is None
    assert checked["checked"]["regions"] == [
        {"name": "us-east", "architecture": "amd64", "image": "private/101", "problems": []}
    ]


async def test_a_region_without_an_image_is_named_and_the_exit_code_is_1(
    relight: InProcess, configured: Path, fake: LinodeFake
):
    fake.images = []
    ended = await relight("provider", "check", "linode")
    assert ended.code == 1
    assert "there is no image relight-base-*" in " ".join(ended.out.split())
    refusal = await relight("provider", "check", "linode", "--create")
    assert refusal.code == 1
    assert "so no machine is made: us-east: there is no image" in refusal.said
    assert fake.bill.entries() == []


async def test_credentials_that_may_do_nothing_are_a_refusal_with_the_vendors_words(
    relight: InProcess, configured: Path, fake: LinodeFake
):
    fake.traps.add(Trap.NO_PERMISSION)
    refused(await relight("provider", "check", "linode"), 3, "403 Unauthorized")


async def test_options_of_a_creation_are_for_one(relight: InProcess):
    ended = await relight("provider", "check", "linode", "--region", "us-east")
    refused(ended, 2, "--region and --timeout are for --create")


async def test_a_trial_makes_proves_and_destroys_one_machine(installation):
    harness = installation.harness
    origin = Origin(requested_by="tester", reason="a trial")
    request = trial_input("fake", "fake-east", "stable", origin)
    queue = harness.parts.task_queue
    trial = await try_provider(harness.client, queue, request, Patience())
    assert trial.machine_key == f"{request.route_id}-g1"
    assert (trial.region, trial.release_tag) == ("fake-east", "v0.0.73")
    assert 0 < trial.proven_after_s <= trial.gone_after_s
    assert harness.route(request.route_id).status is RouteStatus.RETIRED
    assert await harness.machines_of(request.route_id) == []
