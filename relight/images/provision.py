"""The script that makes a Debian root as the contract says.

The build runs it in a chroot, Packer over SSH. It needs a root with apt, and gets its package
lists there; it removes what is of the build's own, but for the apt sources and name servers that
the builder gave.
"""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from relight.images.contract import Certificate, Contract, ImageFile
from relight.images.contract_file import ContractFile

DOWNLOADS = "/var/cache/relight-image"
"""Folder in the root where the builder may lay downloads, each as `SHA256.deb`."""

MARKER = "/usr/lib/relight/image-contract"
"""File of each image, with the digest of its contract: a machine with it was made of an image."""

SYSCTLS = "/etc/sysctl.d/80-relight-image.conf"

_SCRIPT = Path(__file__).parent / "provision.sh"


def provision_steps(file: ContractFile) -> str:
    """Return the POSIX shell script that makes a root as the contract says.

    It runs as root, without arguments, and ends with 0 if it did everything. It may run again.
    """
    calls = [shlex.join(call) for call in _calls(file.contract, file.sha256)]
    return "\n".join((_SCRIPT.read_text("utf-8"), *calls, ""))


def _calls(contract: Contract, sha256: str) -> Iterator[list[str]]:
    """Yield the calls of the script's functions, in the order in which they have to run."""
    yield ["install", *contract.packages]
    for download in contract.downloads:
        for architecture, found in download.files.items():
            yield ["download", download.package, architecture, found.sha256, str(found.url)]
    for user in contract.users:
        yield ["user", user.name, user.shell, *user.groups]
    for directory in contract.directories:
        yield ["directory", directory.path, directory.mode, directory.owner]
    for file in (*contract.files, *(drop_in.file for drop_in in contract.drop_ins)):
        yield _written(file)
    if contract.sysctls:
        text = "".join(f"{name} = {value}\n" for name, value in contract.sysctls.items())
        yield _written(ImageFile(path=SYSCTLS, content=text))
    yield from _trusted(contract.certificates)
    yield from (["disable", unit] for unit in contract.absent.units)
    yield from (["mask", unit] for unit in contract.masked)
    yield from (["checked", *file.check] for file in contract.files if file.check)
    yield from _generalised(contract)
    yield _written(ImageFile(path=MARKER, content=f"{sha256}\n"))


def _trusted(certificates: Sequence[Certificate]) -> Iterator[list[str]]:
    for certificate in certificates:
        if certificate.url is None:
            yield _written(ImageFile(path=certificate.path, content=certificate.pem))
        else:
            yield ["fetch", certificate.sha256, str(certificate.url), certificate.path]
            yield ["access", certificate.path, "0644", "root:root"]
    if certificates:
        yield ["trust"]


def _generalised(contract: Contract) -> Iterator[list[str]]:
    """Yield the calls that remove what no image has, and what is of the build only."""
    until_first_boot = contract.absent_until_first_boot
    packages = [*contract.absent.packages, *until_first_boot.packages]
    if packages:
        yield ["purge", *packages]
    if until_first_boot.passwords:
        yield ["no_passwords"]
    for pattern in (*contract.absent.paths, *until_first_boot.paths):
        yield ["remove", pattern]
    yield ["remove", DOWNLOADS]
    # Last: what ran until here may have written into them.
    for each in contract.files:
        if each.filled_at_first_boot:
            yield _written(each)


def _written(file: ImageFile) -> list[str]:
    call = [file.path, file.mode, file.owner]
    return ["access", *call] if file.content is None else ["file", *call, file.content]
