"""`relight image verify`: a root folder's violations are named, and decide the exit code."""

import json

from relight.images.contract_file import read_contract
from tests.images.roots import root_of
from tests.starter.stores import refused

CONTRACT = "packages:\n  - tzdata\nmasked:\n  - a.timer\n"


def made(tmp_path):
    """Return a root that holds a contract, and the contract's file."""
    file = tmp_path / "mine.yaml"
    file.write_text(CONTRACT)
    return root_of(read_contract(file), tmp_path / "root.dir"), file


async def test_a_root_that_holds_all_ends_with_0(relight, tmp_path):
    root, file = made(tmp_path)
    ended = await relight("image", "verify", str(root), "--contract", str(file))
    assert (ended.code, ended.out) == (
        0,
        f"{root}: no violation of the 3 requirements of mine.yaml\n",
    )


async def test_each_violated_line_is_named_and_ends_with_1(relight, tmp_path):
    root, file = made(tmp_path)
    (root / "etc/systemd/system/a.timer").unlink()
    ended = await relight("image", "verify", str(root), "--contract", str(file), "--json")
    assert ended.code == 1
    answer = json.loads(ended.out)
    assert [each["where"] for each in answer["violations"]] == ["mine.yaml:4"]
    assert answer["violations"][0]["text"] == "a.timer is not masked: absent"


async def test_what_is_no_image_and_no_contract_ends_with_2(relight, tmp_path):
    root, file = made(tmp_path)
    file.write_text("packages: []\n")
    for words in ((str(tmp_path / "none.raw"),), (str(root), "--contract", str(file))):
        assert (await relight("image", "verify", *words)).code == 2


async def test_a_disk_without_the_programs_for_it_or_root_ends_with_3(
    relight, tmp_path, monkeypatch
):
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"QFI\xfb" + bytes(1000))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(await relight("image", "verify", str(disk)), 3, "only root can mount a disk")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("relight.images.programs.SBIN", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    ended = await relight("image", "verify", str(disk))
    refused(ended, 3, "there is no program qemu-img here: `apt-get install qemu-utils`")
