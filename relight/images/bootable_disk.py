"""A disk that boots, made of a root folder: GPT, GRUB for BIOS and for EFI, one ext4.

No device of this computer is used: every part is a file, and the files are put together. The same
root folder and identity give the same disk.
"""

import hashlib
import re
import shutil
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from relight.images.contents import EPOCH_SECONDS, clamp_times
from relight.images.programs import ImageBuildError, run

_SECTOR = 512
_MIB = 1 << 20
# Where the partitions begin and end, in MiB. The root file system is the last: a machine grows it.
_BIOS_BOOT, _EFI, _ROOT, _END = 1, 2, 18, 1
_MIN_ROOT_MIB = 2048 - _ROOT - _END

_TYPES = {
    "bios": "21686148-6449-6E6F-744E-656564454649",
    "efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "amd64": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    "arm64": "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
}

_CONSOLES = {
    "amd64": "console=tty0 console=ttyS0,115200",
    "arm64": "console=tty0 console=ttyAMA0",
}
_EFI_FILES = {"amd64": ("x64", "x86_64-efi"), "arm64": ("aa64", "arm64-efi")}
"""The suffix of EFI programs, and GRUB's name of the platform."""

_BIOS_MODULES = ("biosdisk", "part_gpt", "ext2", "search_fs_uuid", "normal", "configfile")

_ROOT_INODE, _FIRST_INODE = 2, 11
"""Of ext4: the root folder's, and the first one that is not reserved."""

# Offsets in GRUB's first sectors, which grub-bios-setup sets as well.
_BOOT_KERNEL_SECTOR, _BOOT_DRIVE_CHECK, _CORE_BLOCK_LIST = 0x5C, 0x66, 0x1F4


@dataclass(frozen=True)
class _Ids:
    """The disk's unique ids, from the identity of its build."""

    identity: str

    def of(self, what: str) -> uuid.UUID:
        digest = hashlib.sha256(f"{self.identity} {what}".encode()).digest()
        return uuid.UUID(bytes=digest[:16], version=4)


def make_disk(
    root: Path, target: Path, *, identity: str, distribution: str, architecture: str
) -> int:
    """Make a disk of a root folder, which gets what boots it.

    Args:
        root: the folder; changed.
        target: the file of the disk, in the form qcow2, compressed.
        identity: of the build; the disk's unique ids come from it.
        distribution: as in `debian-12`.
        architecture: `amd64` or `arm64`.

    Returns:
        The size of the disk that a machine sees, in bytes.

    Raises:
        ImageBuildError: a program failed, or the root folder has no kernel.
    """
    ids, parts = _Ids(identity), target.with_name(f".{target.name}.parts")
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    try:
        for link in ("vmlinuz", "initrd.img"):
            if not (root / link).exists():
                raise ImageBuildError(f"the image has no kernel: no /{link}")
        _write_boot_files(root, ids.of("root"), architecture)
        core = _bios_core(root, ids.of("root")) if architecture == "amd64" else None
        efi = _efi_system(root, parts, ids, distribution, architecture)
        clamp_times(root)
        filesystem = _filesystem(root, parts / "root", ids)
        size = _ROOT * _MIB + filesystem.stat().st_size + _END * _MIB
        raw = parts / "disk"
        with raw.open("wb") as file:
            file.truncate(size)
        _partition(raw, ids, architecture)
        _put(raw, efi, _EFI * _MIB)
        _put(raw, filesystem, _ROOT * _MIB)
        if core is not None:
            _put_bios_boot(raw, root, core)
        # Under a name of its own: a build that is killed leaves nothing that looks like a disk.
        packed = parts / "packed"
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, packed)
        packed.replace(target)
    finally:
        shutil.rmtree(parts)
    return size


def _write_boot_files(root: Path, root_id: uuid.UUID, architecture: str) -> None:
    """Write the table of file systems and GRUB's menu, which an update of the kernel rewrites."""
    table = f"UUID={root_id} / ext4 defaults,errors=remount-ro,x-systemd.growfs 0 1\n"
    (root / "etc/fstab").write_text(table)
    menu = root / "boot/grub/grub.cfg"
    menu.parent.mkdir(parents=True, exist_ok=True)
    menu.write_text(
        f"search.fs_uuid {root_id} root\n"
        f"linux /vmlinuz root=UUID={root_id} ro {_CONSOLES[architecture]}\n"
        "initrd /initrd.img\n"
        "boot\n"
    )


def _bios_core(root: Path, root_id: uuid.UUID) -> bytes:
    """Return GRUB's core for a BIOS, which finds the root file system by its id.

    Its modules are copied to where a menu of an updated kernel loads them from.
    """
    modules = root / "usr/lib/grub/i386-pc"
    kept = root / "boot/grub/i386-pc"
    kept.mkdir(exist_ok=True)
    for file in sorted((*modules.glob("*.mod"), *modules.glob("*.lst"))):
        shutil.copy2(file, kept)
    early, core = root / "boot/grub/early.cfg", root / "boot/grub/core.img"
    early.write_text(f"search.fs_uuid {root_id} root\nset prefix=($root)/boot/grub\n")
    made = ("grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub")
    files = ("-o", "/boot/grub/core.img", "-c", "/boot/grub/early.cfg")
    run("chroot", root, *made, *files, *_BIOS_MODULES, "linux")
    content = core.read_bytes()
    early.unlink()
    core.unlink()
    return content


def _efi_system(root: Path, parts: Path, ids: _Ids, distribution: str, architecture: str) -> Path:
    """Return the file system of EFI: the distribution's signed loaders, for Secure Boot as well."""
    suffix, platform = _EFI_FILES[architecture]
    vendor = distribution.partition("-")[0]
    tree = parts / "efi-tree"
    boot, own = tree / "EFI/BOOT", tree / "EFI" / vendor
    for folder in (boot, own):
        folder.mkdir(parents=True)
    shutil.copy(root / f"usr/lib/shim/shim{suffix}.efi.signed", boot / f"BOOT{suffix.upper()}.EFI")
    grub = root / f"usr/lib/grub/{platform}-signed/grub{suffix}.efi.signed"
    shutil.copy(grub, boot / f"grub{suffix}.efi")
    (own / "grub.cfg").write_text(
        f"search.fs_uuid {ids.of('root')} root\n"
        "set prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
    )
    clamp_times(tree)
    made = parts / "efi"
    with made.open("wb") as file:
        file.truncate((_ROOT - _EFI) * _MIB)
    volume = ids.of("efi").hex[:8]
    times = {"SOURCE_DATE_EPOCH": str(EPOCH_SECONDS), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    run("mkfs.vfat", "--invariant", "-i", volume, "-n", "EFI", made, variables=times)
    run("mcopy", "-s", "-m", "-i", made, tree / "EFI", "::", variables=times)
    return made


def _filesystem(root: Path, target: Path, ids: _Ids) -> Path:
    used_mib = int(run("du", "-s", "--block-size=1M", root).split()[0])
    size_mib = max(_MIN_ROOT_MIB, used_mib * 3 // 2)
    now = {"E2FSPROGS_FAKE_TIME": str(EPOCH_SECONDS)}
    run(
        *("mke2fs", "-q", "-t", "ext4", "-U", str(ids.of("root")), "-L", "root"),
        # GRUB does not know these features.
        *("-O", "^metadata_csum_seed,^orphan_file"),
        *("-E", f"hash_seed={ids.of('hash')},lazy_itable_init=0,lazy_journal_init=0"),
        *("-d", root, target, f"{size_mib}M"),
        variables=now,
    )
    # Three times of each file that mke2fs takes from the folder, and no build can set there.
    head = run("dumpe2fs", "-h", target)
    counts = dict(re.findall(r"^(Inode count|Free inodes): +(\d+)$", head, re.MULTILINE))
    used = int(counts["Inode count"]) - int(counts["Free inodes"])
    commands = (
        f"set_inode_field <{inode}> {name} @{EPOCH_SECONDS}\n"
        for inode in (_ROOT_INODE, *range(_FIRST_INODE, used + 1))
        for name in ("ctime", "atime", "crtime")
    )
    run("debugfs", "-w", "-f", "-", target, stdin="".join(commands), variables=now)
    return target


def _partition(raw: Path, ids: _Ids, architecture: str) -> None:
    lines = ["label: gpt", f"label-id: {ids.of('disk')}", "unit: sectors"]
    sectors = _MIB // _SECTOR
    table = [
        (14, _BIOS_BOOT, _EFI, "bios"),
        (15, _EFI, _ROOT, "efi"),
        (1, _ROOT, raw.stat().st_size // _MIB - _END, architecture),
    ]
    for number, start, end, kind in table:
        if kind == "bios" and architecture != "amd64":
            continue
        lines.append(
            f"{number} : start={start * sectors}, size={(end - start) * sectors}, "
            f"type={_TYPES[kind]}, uuid={ids.of(f'partition {number}')}"
        )
    run("sfdisk", "--quiet", raw, stdin="\n".join(lines) + "\n")


def _put(raw: Path, part: Path, offset_bytes: int) -> None:
    run(
        *("dd", f"if={part}", f"of={raw}", "bs=1M", f"seek={offset_bytes // _MIB}"),
        *("conv=notrunc,sparse", "status=none"),
    )


def _put_bios_boot(raw: Path, root: Path, core: bytes) -> None:
    """Write GRUB's first sector, and its core into the partition for it, as grub-install does."""
    start = _BIOS_BOOT * _MIB // _SECTOR
    boot = bytearray((root / "usr/lib/grub/i386-pc/boot.img").read_bytes())
    struct.pack_into("<Q", boot, _BOOT_KERNEL_SECTOR, start)
    boot[_BOOT_DRIVE_CHECK : _BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
    placed = bytearray(core)
    struct.pack_into("<Q", placed, _CORE_BLOCK_LIST, start + 1)
    with raw.open("r+b") as file:
        # What follows is the table of partitions of an old kind, which GPT keeps.
        file.write(boot[:440])
        file.seek(start * _SECTOR)
        file.write(placed)
