"""The identity of an image: every input is in it, and nothing else."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from relight.images.contract_file import read_contract
from relight.images.programs import ImageBuildError
from relight.images.provision import provision_steps
from relight.images.recipe import FOLDER, Download, Recipe
from tests.support.apt_sources import has_source_of

PACKAGES = (Download("nftables", "1.0.6-2", "a" * 64), Download("tzdata", "2026a", "b" * 64))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The recipe of the default contract, in a folder of its own."""
    contract = read_contract()
    return Recipe(
        distribution="debian-12",
        architecture="amd64",
        provision=provision_steps(contract),
        contract_sha256=contract.sha256,
        packages=contract.contract.packages,
        folder=Path(shutil.copytree(FOLDER, tmp_path / "images")),
    )


def test_the_same_inputs_are_the_same_image(recipe: Recipe) -> None:
    elsewhere = dataclasses.replace(recipe, folder=FOLDER)
    assert recipe.identity(PACKAGES) == elsewhere.identity(PACKAGES)


@pytest.mark.parametrize(
    "other",
    [
        lambda recipe: dataclasses.replace(recipe, distribution="ubuntu-24.04"),
        lambda recipe: dataclasses.replace(recipe, architecture="arm64"),
        lambda recipe: dataclasses.replace(recipe, provision=f"{recipe.provision}\n:\n"),
        lambda recipe: dataclasses.replace(recipe, contract_sha256="0" * 64),
    ],
    ids=["distribution", "architecture", "script", "contract"],
)
def test_each_choice_makes_another_image(recipe: Recipe, other: Callable[[Recipe], Recipe]) -> None:
    assert other(recipe).identity(PACKAGES) != recipe.identity(PACKAGES)


@pytest.mark.parametrize(
    "name", ["make-root", "apt-sources", "packages/machine-amd64", "machine/etc/motd"]
)
def test_each_file_of_the_recipe_makes_another_image(recipe: Recipe, name: str) -> None:
    before = recipe.identity(PACKAGES)
    with (recipe.folder / name).open("a") as file:
        file.write("# more\n")
    assert recipe.identity(PACKAGES) != before


@pytest.mark.parametrize("name", ["packer/qemu.pkr.hcl", "README.md"])
def test_other_files_make_no_other_image(recipe: Recipe, name: str) -> None:
    before = recipe.identity(PACKAGES)
    with (recipe.folder / name).open("a") as file:
        file.write("# more\n")
    assert recipe.identity(PACKAGES) == before


def test_a_package_of_another_version_or_content_makes_another_image(recipe: Recipe) -> None:
    before = recipe.identity(PACKAGES)
    newer = PACKAGES[0]._replace(version="1.0.6-3")
    rebuilt = PACKAGES[0]._replace(sha256="c" * 64)
    for changed in ((newer, PACKAGES[1]), (rebuilt, PACKAGES[1]), PACKAGES[1:]):
        assert recipe.identity(changed) != before


def test_a_machine_has_the_packages_of_the_contract_and_what_boots_it(recipe: Recipe) -> None:
    names = recipe.names()
    assert set(recipe.packages) < set(names)
    assert "linux-image-cloud-amd64" in names
    assert len(names) == len(set(names))


def test_where_the_recipe_is_not_nothing_is_built(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ImageBuildError, match="built in a checkout of Relight"):
        dataclasses.replace(recipe, folder=tmp_path / "elsewhere").names()


def test_an_architecture_without_a_boot_loader_here_is_refused(recipe: Recipe) -> None:
    other = dataclasses.replace(recipe, architecture="riscv64")
    with pytest.raises(ImageBuildError, match=r"no image is made for riscv64"):
        other.downloads()


@pytest.mark.skipif(has_source_of("noble"), reason="Ubuntu 24.04 has a source here")
def test_a_distribution_without_an_apt_source_here_is_refused(recipe: Recipe) -> None:
    other = dataclasses.replace(recipe, distribution="ubuntu-24.04")
    with pytest.raises(ImageBuildError, match=r"no apt source for noble here"):
        other.downloads()


def test_a_distribution_that_nobody_knows_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ImageBuildError, match=r"name debian-12 or ubuntu-24\.04"):
        dataclasses.replace(recipe, distribution="slackware-15").downloads()


def test_the_script_that_the_lab_and_packer_run_is_that_of_the_contract() -> None:
    written = (FOLDER / "provision.sh").read_text()
    assert written == provision_steps(read_contract()), "make docs writes images/provision.sh"
