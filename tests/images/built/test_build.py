"""The build of the default image: whole, reproducible, and without anything of its builder."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from relight.images.build import BuiltImage, build_image
from relight.images.contents import contents_digest
from relight.images.contract_file import parse_contract, read_contract
from relight.images.programs import ImageBuildError, run
from tests.images.built.conftest import order


def test_the_manifest_describes_the_disk(images: Path, built: BuiltImage) -> None:
    manifest = built.manifest
    disk = images / f"{manifest.name}.qcow2"
    with disk.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == manifest.disk_sha256
    assert disk.stat().st_size == manifest.disk_bytes
    described = json.loads(run("qemu-img", "info", "--output=json", disk))
    assert (described["format"], described["virtual-size"]) == ("qcow2", manifest.virtual_bytes)
    run("qemu-img", "check", disk)
    assert {"linux-image-cloud-amd64", "wireguard-tools", "cloud-init"} <= manifest.packages.keys()
    assert "awk" in manifest.provides


def test_the_same_inputs_build_nothing(images: Path, built: BuiltImage) -> None:
    again = build_image(order(images))
    assert not again.is_new
    assert again.manifest == built.manifest


def test_the_same_inputs_are_the_same_bytes(tmp_path: Path, built: BuiltImage) -> None:
    again = build_image(order(tmp_path))
    assert again.is_new
    assert again.manifest.contents_sha256 == built.manifest.contents_sha256
    assert again.manifest.disk_sha256 == built.manifest.disk_sha256


def test_the_name_of_an_image_is_never_given_to_another(images: Path, built: BuiltImage) -> None:
    label = built.manifest.identity[:12]
    other = parse_contract(b"packages: [nftables]\n", "other.yaml")
    with pytest.raises(ImageBuildError, match="a name never names another image"):
        build_image(dataclasses.replace(order(images), contract=other, label=label))


def test_the_root_folder_has_nothing_of_its_build(images: Path, built: BuiltImage) -> None:
    root = images / f"{built.manifest.name}.root"
    assert contents_digest(root) == built.manifest.contents_sha256
    assert (root / "etc/machine-id").read_bytes() == b""
    assert not list((root / "etc/ssh").glob("ssh_host_*"))
    assert not [path for path in (root / "var/log").rglob("*") if not path.is_dir()]
    assert not list((root / "var/lib/apt/lists").iterdir())
    assert not (root / "etc/apt/apt.conf.d/99mmdebstrap").exists()
    entries = [line.split(":") for line in (root / "etc/shadow").read_text().splitlines()]
    assert all(set(entry[1]) <= set("!*") for entry in entries)


def test_all_clouds_are_asked_for_a_first_boot(images: Path, built: BuiltImage) -> None:
    root = images / f"{built.manifest.name}.root"
    lines = "\n".join(path.read_text() for path in (root / "etc/cloud").rglob("*.cfg")).split("\n")
    # cloud-init's own list has all.
    assert [each for each in lines if each.startswith("datasource_list")] == []


def test_an_image_has_the_digest_of_its_contract(images: Path, built: BuiltImage) -> None:
    root = images / f"{built.manifest.name}.root"
    marker = (root / "usr/lib/relight/image-contract").read_text().strip()
    assert marker == built.manifest.contract_sha256 == read_contract().sha256
