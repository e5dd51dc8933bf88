"""A program that is missing is named with the package that has it."""

import dataclasses
from pathlib import Path

import pytest

from relight.images.build import ImageOrder, build_image
from relight.images.contract_file import parse_contract, read_contract
from relight.images.disk import check_disk
from relight.images.programs import BUILD_PROGRAMS, NoProgramError, require_programs, run
from relight.images.recipe import Recipe

SMALL = parse_contract(b"packages: [tzdata]\n", "mine.yaml")


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.images.programs.SBIN", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoProgramError, match=r"program sfdisk here: `apt-get install fdisk`"):
        run("sfdisk", "--version")
    with pytest.raises(NoProgramError, match="program setpriv here: `apt-get install util-linux`"):
        run("true", shown=True)
    with pytest.raises(NoProgramError, match=r"no program nonesuch here$"):
        run("nonesuch")


def test_all_missing_programs_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.images.programs.SBIN", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoProgramError, match=r"no programs mcopy, mkfs\.vfat, qemu-img here") as no:
        require_programs(["qemu-img", "mkfs.vfat", "mcopy"])
    assert str(no.value).endswith("`apt-get install dosfstools mtools qemu-utils`")


def test_a_program_in_sbin_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    require_programs(["sfdisk", "mke2fs"])
    assert "sfdisk" in run("sfdisk", "--version")


def test_a_build_asks_for_all_before_it_makes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in set(BUILD_PROGRAMS) - {"sfdisk", "mcopy"}:
        (folder / name).symlink_to("/bin/true")
    monkeypatch.setattr("relight.images.programs.SBIN", "/nowhere")
    monkeypatch.setattr(Recipe, "downloads", lambda recipe: [])
    monkeypatch.setenv("PATH", str(folder))
    order = ImageOrder(read_contract(), "debian-12", "amd64", tmp_path / "images")
    with pytest.raises(NoProgramError, match=r"programs mcopy, sfdisk here: .*fdisk mtools`"):
        build_image(order)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    other = dataclasses.replace(order, architecture="arm64")
    with pytest.raises(NoProgramError, match=r"install arch-test fdisk mtools qemu-user-static`"):
        build_image(other)
    assert not order.out.exists()


def test_a_check_of_a_disk_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"QFI\xfb" + bytes(1000))
    monkeypatch.setattr("relight.images.programs.SBIN", "/nowhere")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoProgramError, match="qemu-img here: `apt-get install qemu-utils`"):
        check_disk(disk, SMALL)
    disk.write_bytes(bytes(1000))
    with pytest.raises(NoProgramError, match="sfdisk here: `apt-get install fdisk`"):
        check_disk(disk, SMALL)
