"""`relight image build` before it builds: what it refuses, and why."""

from pathlib import Path

import pytest

from relight.images.contract_file import read_contract
from relight.images.provision import provision_steps
from relight.images.recipe import Recipe
from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.support.apt_sources import has_source_of
from tests.support.image_disks import write_disk


@pytest.fixture
def relight(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


async def test_a_typed_v_is_refused(relight: InProcess) -> None:
    ended = await relight("image", "build", "--label", "v0.0.74")
    refused(ended, 2, "a label has no v: 0.0.74")


async def test_a_file_that_is_no_contract_is_refused(relight: InProcess, tmp_path: Path) -> None:
    contract = tmp_path / "contract.yaml"
    contract.write_text("pakages: [nftables]\n")
    ended = await relight("image", "build", "--contract", str(contract))
    refused(ended, 2, "pakages")


async def test_an_architecture_without_a_recipe_is_refused(relight: InProcess) -> None:
    ended = await relight("image", "build", "--architecture", "riscv64")
    refused(ended, 1, "no image is made for riscv64")


@pytest.mark.skipif(has_source_of("noble"), reason="Ubuntu 24.04 has a source here")
async def test_a_distribution_without_an_apt_source_here_is_refused(relight: InProcess) -> None:
    ended = await relight("image", "build", "--distribution", "ubuntu-24.04")
    refused(ended, 1, "no apt source for noble here")


async def test_a_computer_without_apt_is_told_so(
    relight: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.images.programs.SBIN", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    refused(await relight("image", "build"), 3, "there is no program apt-get here")


async def test_an_image_that_is_there_keeps_its_name_and_the_answer_has_it(
    relight: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recipe, "downloads", lambda recipe: [])
    contract = read_contract()
    recipe = Recipe(
        distribution="debian-12",
        architecture="amd64",
        provision=provision_steps(contract),
        contract_sha256=contract.sha256,
        packages=contract.contract.packages,
    )
    manifest, _ = write_disk(tmp_path)
    built = manifest.model_copy(update={"identity": recipe.identity([])})
    (tmp_path / f"{built.name}.json").write_text(built.model_dump_json())
    words = ("image", "build", "--architecture", "amd64", "--label", "9", "--out", str(tmp_path))
    assert (await relight(*words, "--outputs")).out == f"amd64={built.name}\n"
    assert f"{built.name}: unchanged, so nothing was built" in (await relight(*words)).out
    answer = (await relight(*words, "--json")).json
    assert (answer["built"], answer["name"]) == (False, built.name)
