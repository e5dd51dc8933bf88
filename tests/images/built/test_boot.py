"""The disk boots, by BIOS and by EFI, and runs the first boot that NoCloud gives it."""

import subprocess
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


@pytest.mark.parametrize("platform", ["bios", "efi"])
@pytest.mark.timeout(WITHIN_SECONDS + 60)
def test_the_disk_boots_and_runs_its_first_boot(
    images: Path, built: BuiltImage, tmp_path: Path, platform: str
) -> None:
    if platform == "efi" and not EFI_FIRMWARE.exists():
        pytest.skip("no firmware for EFI here: Debian's package ovmf has it")
    mark = uuid.uuid4().hex
    disk = tmp_path / "disk.qcow2"
    base = (images / f"{built.manifest.name}.qcow2").absolute()
    # Of its own, and larger than the image: a machine grows its file system.
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, disk, "4G")
    firmware = ("-bios", EFI_FIRMWARE) if platform == "efi" else ()
    console = tmp_path / "console"
    subprocess.run(
        [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35"),
            *("-smp", "2", "-m", "1024", "-nographic", "-no-reboot", "-serial", f"file:{console}"),
            *("-monitor", "none", *firmware, "-nic", "user,model=virtio-net-pci"),
            *("-drive", f"file={disk},if=virtio,format=qcow2"),
            *("-drive", f"file={_seed(tmp_path, mark)},if=virtio,format=raw"),
        ],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=WITHIN_SECONDS,
    )
    said = console.read_text(errors="replace")
    found = [line.strip().removeprefix("report: ") for line in said.splitlines()]
    reported = found[found.index(f"mark {mark}") : found.index("end")]
    assert reported == [
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
