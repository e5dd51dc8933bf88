"""Root folders that a contract is fulfilled in, made by hand: without its script, so each tests the
other. Owners are by the folder's own accounts, in which the account of the tests is root."""

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from relight.images.contract_file import ContractFile
from relight.images.requirements import Kind, Requirement

NOBODY = "nobody"
ROOT_ACCOUNT = f"root:x:{os.getuid()}:{os.getgid()}::/root:/bin/bash\n"
BUNDLE = Path("etc/ssl/certs/ca-certificates.crt")


def written(root: Path, path: str, content: str = "", mode: int = 0o644) -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def pem(name: str) -> str:
    """Return text in the form of a certificate, of two lines."""
    body = base64.b64encode(f"the certificate of {name}, which is longer than a line".encode())
    text = f"{body[:40].decode()}\n{body[40:].decode()}"
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"


def root_of(file: ContractFile, root: Path) -> Path:
    """Make a root that a contract is fulfilled in."""
    contract = file.contract
    packages = [*contract.packages, *(each.package for each in contract.downloads)]
    status = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: 1\n" for name in packages
    )
    written(root, "/var/lib/dpkg/status", status)
    users = "".join(
        f"{each.name}:x:{5000 + number}:{5000 + number}::/home/{each.name}:{each.shell}\n"
        for number, each in enumerate(contract.users)
    )
    written(root, "/etc/passwd", f"{ROOT_ACCOUNT}{NOBODY}:x:65534:65534::/:/bin/false\n{users}")
    groups = [(group, each.name) for each in contract.users for group in each.groups]
    written(
        *(root, "/etc/group"),
        f"root:x:{os.getgid()}:\nnogroup:x:65534:\n"
        + "".join(f"{group}:x:{7000 + n}:other,{user}\n" for n, (group, user) in enumerate(groups)),
    )
    written(root, "/etc/shadow", "root:*:1::::::\nlocked:!:1::::::\nother:!*:1::::::\n", 0o600)
    for each in contract.directories:
        folder = root / each.path[1:]
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(int(each.mode, 8))
    for one in (*contract.files, *(drop_in.file for drop_in in contract.drop_ins)):
        written(root, one.path, one.content or "", int(one.mode, 8))
    for unit in contract.masked:
        link = root / "etc/systemd/system" / unit
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/dev/null")
    settings = "".join(f"{name} = {value}\n" for name, value in contract.sysctls.items())
    written(root, "/etc/sysctl.d/80-image.conf", settings)
    for certificate in contract.certificates:
        written(root, certificate.path, certificate.pem)
    trusted = "".join(certificate.pem for certificate in contract.certificates)
    written(root, str(BUNDLE), pem("another") + trusted)
    return root


def violate(asked: Requirement, root: Path) -> None:
    """Change a root so that it does not do what is asked, and does all else as far as possible."""
    VIOLATIONS[asked.kind](asked, root)


def not_installed(asked: Requirement, root: Path) -> None:
    installed = f"Package: {asked.subject}\nStatus: install ok installed\n"
    gone = installed.replace("install ok installed", "deinstall ok config-files")
    changed(root / "var/lib/dpkg/status", installed, gone)


def installed(asked: Requirement, root: Path) -> None:
    with (root / "var/lib/dpkg/status").open("a") as status:
        status.write(f"\nPackage: {asked.subject}\nStatus: install ok installed\n")


def moved(asked: Requirement, root: Path) -> None:
    path = at(asked, root)
    path.rename(path.with_name(f"{path.name}-moved"))


def of_nobody(asked: Requirement, root: Path) -> None:
    path = at(asked, root)
    mode = path.stat().st_mode
    os.chown(path, 65534, -1)
    path.chmod(mode)  # of a program that runs as its owner it was changed


def longer(asked: Requirement, root: Path) -> None:
    with at(asked, root).open("a") as file:
        file.write("more")


def renamed(asked: Requirement, root: Path) -> None:
    changed(root / "etc/passwd", f"\n{asked.subject}:", f"\nx{asked.subject}:")


def other_shell(asked: Requirement, root: Path) -> None:
    home = f"/home/{asked.subject}:"
    changed(root / "etc/passwd", f"{home}{asked.expected}", f"{home}/x")


def left_group(asked: Requirement, root: Path) -> None:
    file = root / "etc/group"
    [line] = [each for each in file.read_text().splitlines() if each.startswith(asked.expected)]
    changed(file, line, line.replace(f",{asked.subject}", ""))


def at(asked: Requirement, root: Path) -> Path:
    return root / asked.subject.lstrip("/")


UNITS = "etc/systemd/system"
VIOLATIONS: Mapping[Kind, Callable[[Requirement, Path], object]] = {
    Kind.PACKAGE: not_installed,
    Kind.NO_PACKAGE: installed,
    Kind.DIRECTORY: moved,
    Kind.FILE: moved,
    Kind.MODE: lambda asked, root: at(asked, root).chmod(at(asked, root).stat().st_mode ^ 1),
    Kind.OWNER: of_nobody,
    Kind.CONTENT: longer,
    Kind.USER: renamed,
    Kind.SHELL: other_shell,
    Kind.GROUP: left_group,
    Kind.MASKED: lambda asked, root: (root / UNITS / asked.subject).unlink(),
    Kind.SYSCTL: lambda asked, root: written(
        root, "/usr/lib/sysctl.d/99-later.conf", f"{asked.subject}=another\n"
    ),
    Kind.TRUSTED: lambda _, root: written(root, str(BUNDLE), pem("another")),
    Kind.NO_PATH: lambda asked, root: written(root, asked.subject.replace("*", "some")),
    Kind.NOT_ENABLED: lambda asked, root: written(
        root, f"/{UNITS}/multi-user.target.wants/{asked.subject}"
    ),
    Kind.LOCKED: lambda _, root: written(
        root, "/etc/shadow", "root:*:1::::::\nbuild:$y$j9T$x:1::::::\n", 0o600
    ),
}


def changed(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))
