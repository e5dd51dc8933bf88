"""The disk boots, by BIOS and by EFI, and runs the first boot that its cloud gives it."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from relight.images.build import BuiltImage
from relight.images.programs import run

WITHIN_SECONDS = 1500
"""An emulator on a busy computer is slow; the machine powers itself off."""

REPORT = """\
#cloud-config
runcmd:
  - - sh
    - -c
    - |
      exec >/dev/ttyS0 2>&1
      echo "report: mark @MARK@"
      echo "report: failed units: $(systemctl --failed --no-legend | wc -l)"
      echo "report: online $(ip -4 -brief address show scope global | wc -l)"
      echo "report: machine-id $(wc -c </etc/machine-id)"
      echo "report: host keys $(ls /etc/ssh/ssh_host_*_key | wc -l)"
      echo "report: grown $(($(df --output=size --block-size=1M / | tail -n 1) > 2500))"
      echo "report: platform $([ -d /sys/firmware/efi ] && echo efi || echo bios)"
      echo "report: end"
power_state: {mode: poweroff, condition: true}
"""
EFI_FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE.fd")


SERVED = """\
import sys
from pathlib import Path
_, path, _ = sys.stdin.readline().split()
while sys.stdin.readline().strip():
    pass
file = Path(sys.argv[1]) / path.strip("/").replace("/", "_")
body = file.read_text() if file.is_file() else ""
status = "200 OK" if body else "404 Not Found"
head = f"HTTP/1.1 {status}\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
print(head + body, end="")
"""
"""Answers one request with a file; QEMU runs it for each connection to the metadata service."""


@pytest.mark.parametrize("platform", ["bios", "efi"])
@pytest.mark.timeout(WITHIN_SECONDS + 60)
def test_the_disk_boots_and_runs_the_first_boot_of_nocloud(
    images: Path, built: BuiltImage, tmp_path: Path, platform: str
) -> None:
    if platform == "efi" and not EFI_FIRMWARE.exists():
        pytest.skip("no firmware for EFI here: Debian's package ovmf has it")
    mark = uuid.uuid4().hex
    firmware = ("-bios", EFI_FIRMWARE) if platform == "efi" else ()
    seed = f"file={_seed(tmp_path, mark)},if=virtio,format=raw"
    said = _booted(
        _own_disk(images, built, tmp_path),
        tmp_path,
        *(*firmware, "-nic", "user,model=virtio-net-pci", "-drive", seed),
    )
    assert _reported(said, mark) == _expected(mark, platform)


@pytest.mark.timeout(WITHIN_SECONDS + 60)
def test_the_disk_boots_and_runs_the_first_boot_of_a_metadata_service(
    images: Path, built: BuiltImage, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    served, program = tmp_path / "served", tmp_path / "serve.py"
    served.mkdir()
    program.write_text(SERVED)
    (served / "openstack").write_text("2018-08-27\nlatest\n")
    about = {"uuid": str(uuid.uuid4()), "name": "booted", "hostname": "booted"}
    for version in ("2018-08-27", "latest"):
        (served / f"openstack_{version}_meta_data.json").write_text(json.dumps(about))
        (served / f"openstack_{version}_user_data").write_text(REPORT.replace("@MARK@", mark))
    network = "user,model=virtio-net-pci,net=169.254.169.0/24,host=169.254.169.2"
    command = f"{sys.executable} {program} {served}"
    said = _booted(
        _own_disk(images, built, tmp_path),
        tmp_path,
        *("-smbios", "type=1,product=OpenStack Nova"),
        *("-nic", f"{network},guestfwd=tcp:169.254.169.254:80-cmd:{command}"),
    )
    assert _reported(said, mark) == _expected(mark, "bios")


def _own_disk(images: Path, built: BuiltImage, folder: Path) -> Path:
    """Return a disk of the image, larger than it: a machine grows its file system."""
    base, disk = (images / f"{built.manifest.name}.qcow2").absolute(), folder / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, disk, "4G")
    return disk


def _booted(disk: Path, folder: Path, *options: str | Path) -> str:
    """Boot a disk, wait until the machine is off, and return what it wrote to its console."""
    console = folder / "console"
    subprocess.run(
        [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35"),
            *("-smp", "2", "-m", "1024", "-nographic", "-no-reboot", "-monitor", "none"),
            *("-serial", f"file:{console}", "-drive", f"file={disk},if=virtio,format=qcow2"),
            *options,
        ],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=WITHIN_SECONDS,
    )
    return console.read_text(errors="replace")


def _reported(said: str, mark: str) -> list[str]:
    found = [line.strip().removeprefix("report: ") for line in said.splitlines()]
    return found[found.index(f"mark {mark}") : found.index("end")]


def _expected(mark: str, platform: str) -> list[str]:
    return [
        f"mark {mark}",
        "failed units: 0",
        "online 1",
        "machine-id 33",
        "host keys 4",
        "grown 1",
        f"platform {platform}",
    ]


def _seed(folder: Path, mark: str) -> Path:
    """Return a disk for cloud-init's NoCloud."""
    seed, user, meta = folder / "seed", folder / "user-data", folder / "meta-data"
    user.write_text(REPORT.replace("@MARK@", mark))
    meta.write_text("instance-id: booted\nlocal-hostname: booted\n")
    with seed.open("wb") as file:
        file.truncate(1 << 20)
    run("mkfs.vfat", "-n", "CIDATA", seed)
    run("mcopy", "-i", seed, user, meta, "::")
    return seed
