"""Named images: files that a client sends, over the base image, in one region or both."""

import io
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.named_images import ImageStatus, NamedImages
from tests.lab.guests import Guest
from tests.support.lab import Lab

ADDED, REMOVED = "etc/named-image", "usr/share/zoneinfo/Europe/Zurich"


class ClientGoneError(Exception):
    """The client of an upload has gone."""


def archive(files: Mapping[str, str], whiteouts: tuple[str, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
        for name in whiteouts:
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.CHRTYPE
            made.addfile(entry)
    return packed.getvalue()


async def sent(content: bytes):
    yield content


@pytest.fixture
def client(lab: Lab) -> Iterator[httpx.Client]:
    with lab.client() as client:
        yield client
        for image in client.get("/v1/images").raise_for_status().json():
            client.delete(f"/v1/images/{image['id']}")


def made(client: httpx.Client, name: str, content: bytes | None, region: str = "lab-east") -> Any:
    body = {"name": name, "region": region, "tags": {"relight-identity": "ab" * 32}}
    image = client.post("/v1/images", json=body).raise_for_status().json()
    if content is not None:
        path = f"/v1/images/{image['id']}/content"
        image = client.put(path, content=content).raise_for_status().json()
    return image


@pytest.mark.lab
def test_a_machine_has_the_files_of_its_image_and_lacks_what_that_takes_away(
    lab: Lab, client: httpx.Client
):
    image = made(client, "named", archive({ADDED: "hello\n"}, (REMOVED,)))
    assert (image["status"], image["region"]) == ("available", "lab-east")
    created = lab.request_machine(label=Guest().label, image=image["id"])
    machine = lab.until_status(created["id"], "running")
    assert machine["image"] == image["id"]
    lab.until_run(machine["id"], "cloud-init", "status", "--wait")
    assert lab.run(machine["id"], "cat", f"/{ADDED}").stdout == "hello\n"
    assert "No such file" in lab.run(machine["id"], "ls", f"/{REMOVED}", check=False).stderr

    refused = client.delete(f"/v1/images/{image['id']}")
    assert refused.status_code == 409
    assert machine["label"] in refused.json()["detail"]
    lab.delete(machine["id"])
    assert client.delete(f"/v1/images/{image['id']}").status_code == 202
    assert client.get(f"/v1/images/{image['id']}").status_code == 404


@pytest.mark.lab
def test_an_image_is_of_one_region_until_it_is_copied(lab: Lab, client: httpx.Client):
    image = made(client, "named", archive({ADDED: "hello\n"}))
    body = {"label": Guest().label, "region": "lab-west", "image": image["id"]}
    refused = client.post("/v1/machines", json=body)
    assert refused.status_code == 422
    assert "is available in lab-east" in refused.json()["detail"]
    copies = f"/v1/images/{image['id']}/copies"
    copied = client.post(copies, json={"region": "lab-west"}).raise_for_status().json()
    assert (copied["status"], copied["tags"]) == ("available", image["tags"])
    assert client.post(copies, json={"region": "lab-west"}).status_code == 409
    assert client.post(copies, json={"region": "lab-north"}).status_code == 422
    client.delete(f"/v1/images/{image['id']}").raise_for_status()
    [left] = client.get("/v1/images").raise_for_status().json()
    assert left["id"] == copied["id"]
    machine = lab.request_machine(label=body["label"], region="lab-west", image=copied["id"])
    lab.until_status(machine["id"], "running")
    lab.delete(machine["id"])


@pytest.mark.lab
def test_what_is_not_there_or_not_right_is_refused(client: httpx.Client):
    image = made(client, "named", None)
    assert client.get("/v1/images/image-0").status_code == 404
    assert client.delete("/v1/images/image-0").status_code == 404
    same = client.post("/v1/images", json={"name": "named", "region": "lab-east"})
    assert same.status_code == 409
    copied = client.post(f"/v1/images/{image['id']}/copies", json={"region": "lab-west"})
    assert (copied.status_code, "is waiting" in copied.json()["detail"]) == (409, True)
    machine = client.post(
        "/v1/machines",
        json={"label": Guest().label, "region": "lab-east", "image": image["id"]},
    )
    assert machine.status_code == 422


async def test_what_is_no_archive_fails_with_words_and_can_be_sent_again(tmp_path: Path):
    images = NamedImages(tmp_path)
    image = images.create("named", "lab-east", {})
    for content in (b"no archive", archive({})):
        await images.receive(image, sent(content))
        assert image.status is ImageStatus.FAILED
        assert image.reason
    await images.receive(image, sent(archive({ADDED: "hello\n"})))
    assert image.status is ImageStatus.AVAILABLE
    assert (image.folder / "root" / ADDED).read_text() == "hello\n"
    assert names(image.folder) == ["root"]


async def test_what_a_client_that_goes_away_has_not_sent_can_be_sent_again(tmp_path: Path):
    images = NamedImages(tmp_path)
    image = images.create("named", "lab-east", {})

    async def cut():
        yield b"the first bytes"
        raise ClientGoneError

    with pytest.raises(ClientGoneError):
        await images.receive(image, cut())
    assert image.status == "waiting"
    await images.receive(image, sent(archive({ADDED: "hello\n"})))
    assert image.status is ImageStatus.AVAILABLE


async def test_files_are_kept_until_the_last_region_has_lost_them(tmp_path: Path):
    images = NamedImages(tmp_path)
    image = images.create("named", "lab-east", {})
    await images.receive(image, sent(archive({ADDED: "hello\n"})))
    copied = images.copy(image, "lab-west")
    images.delete(image)
    assert (copied.folder / "root" / ADDED).exists()
    images.delete(copied)
    assert names(tmp_path) == []


async def test_a_disk_has_its_first_partition_of_linux_unpacked(tmp_path: Path):
    root, raw, disk = tmp_path / "root", tmp_path / "raw", tmp_path / "disk.qcow2"
    (root / "etc").mkdir(parents=True)
    (root / "etc/named-image").write_text("hello\n")
    (root / "etc/named-image").chmod(0o640)
    (root / "link").symlink_to("etc/named-image")
    partition = tmp_path / "partition"
    run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(partition), "8M")
    raw.write_bytes(bytes(2 * 1024**2) + partition.read_bytes() + bytes(1024**2))
    table = "label: gpt\nstart=2048, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n"
    run("sfdisk", "-q", str(raw), stdin=f"{table}start=4096, size=8MiB, type=linux\n")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk))

    images = NamedImages(tmp_path / "images")
    image = images.create("named", "lab-east", {})
    await images.receive(image, sent(disk.read_bytes()))
    assert (image.status, image.reason) == (ImageStatus.AVAILABLE, None)
    unpacked = image.folder / "root"
    assert (unpacked / "link").read_text() == "hello\n"
    assert stat.S_IMODE((unpacked / "etc/named-image").stat().st_mode) == 0o640
    assert names(image.folder) == ["root"]


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def run(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, timeout=60, capture_output=True)
