"""The build of an image: a disk and its manifest, without any cloud.

The root folder comes from the recipe (`images/`) and the contract, and becomes the disk. Nothing is
built if an image of the same inputs is there.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from relight.domain.image.image import ImageManifest
from relight.domain.image.label import image_name
from relight.images.bootable_disk import make_disk
from relight.images.check import CheckUnreadableError, check_script, parse_check
from relight.images.contents import EPOCH_SECONDS, contents_digest, generalise
from relight.images.contract_file import ContractFile
from relight.images.programs import (
    BUILD_PROGRAMS,
    EMULATOR_PROGRAMS,
    ImageBuildError,
    NoRootError,
    require_programs,
    run,
)
from relight.images.provision import provision_steps
from relight.images.recipe import Download, Recipe
from relight.images.requirements import Subject

_LABEL_CHARACTERS = 12


@dataclass(frozen=True)
class ImageOrder:
    """A requested image.

    Attributes:
        contract: what it holds.
        distribution: and its version, as in `debian-12`.
        architecture: Debian's name, as in `amd64`.
        out: the folder of images.
        label: of its name; None for the first digits of its identity.
        keep_root: whether its root folder is left beside the disk, as `NAME.root`.
    """

    contract: ContractFile
    distribution: str
    architecture: str
    out: Path
    label: str | None = None
    keep_root: bool = False


class BuiltImage(NamedTuple):
    """The result of a build.

    Attributes:
        manifest: of the image.
        is_new: False if it was there already.
    """

    manifest: ImageManifest
    is_new: bool


def build_image(order: ImageOrder) -> BuiltImage:
    """Build an image, unless one of the same inputs is in the folder.

    Raises:
        ImageBuildError: there is no apt source for it here, a program failed, another image has the
            name, another build runs in the folder, the packages changed at their source during the
            build, or the image is not as its contract says.
        NoProgramError: a program that is needed is not installed.
        NoRootError: only root can build it.
    """
    recipe = Recipe(
        distribution=order.distribution,
        architecture=order.architecture,
        provision=provision_steps(order.contract),
        contract_sha256=order.contract.sha256,
        packages=order.contract.contract.packages,
    )
    downloads = recipe.downloads()
    identity = recipe.identity(downloads)
    name = image_name(order.label or identity[:_LABEL_CHARACTERS], order.architecture)
    for manifest in manifests(order.out):
        same = manifest.identity == identity
        if same and (not order.keep_root or _root_of(manifest.name, order.out).is_dir()):
            return BuiltImage(manifest, is_new=False)
        if manifest.name == name and not same:
            raise ImageBuildError(
                f"{name} is in {order.out} with other inputs: a name never names another image. "
                "Give this one another label, or delete that one."
            )
    _require_programs(order.architecture)
    if os.geteuid() != 0:
        raise NoRootError("a build needs root: files in the image have owners")
    with _building(order.out) as folder:
        manifest = _built(order, recipe, downloads, identity, name, folder)
    return BuiltImage(manifest, is_new=True)


def _require_programs(architecture: str) -> None:
    """Require what a build runs, before it begins: some of it comes after minutes."""
    own = architecture == architecture_here()
    require_programs([*BUILD_PROGRAMS, *(() if own else EMULATOR_PROGRAMS.get(architecture, ()))])


def architecture_here() -> str:
    """Return this computer's architecture, as Debian names it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def manifests(folder: Path) -> Iterator[ImageManifest]:
    """Yield the manifest of each image of a folder whose disk is there, ordered by name."""
    for file in sorted(folder.glob("*.json")):
        try:
            manifest = ImageManifest.model_validate_json(file.read_bytes())
        except ValidationError:
            continue
        disk = file.with_suffix(".qcow2")
        if disk.is_file() and disk.stat().st_size == manifest.disk_bytes:
            yield manifest


@contextmanager
def _building(out: Path) -> Iterator[Path]:
    """Yield a folder for the one build in a folder of images; remove what a killed one left.

    Raises:
        ImageBuildError: another build runs there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImageBuildError(f"another build runs in {out}") from None
        for unfinished in out.glob(".build-*"):
            shutil.rmtree(unfinished)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as folder:
            Path(folder).chmod(0o755)  # the user of apt's downloads needs access
            yield Path(folder)


def _root_of(name: str, out: Path) -> Path:
    return out / f"{name}.root"


def _built(
    order: ImageOrder,
    recipe: Recipe,
    downloads: list[Download],
    identity: str,
    name: str,
    folder: Path,
) -> ImageManifest:
    """Build the image in a folder of its own, and put it into the folder of images."""
    root, disk = folder / "root", folder / "disk"
    root.mkdir(mode=0o755)
    _make_root(recipe, folder / "provision.sh", root)
    packages = _installed(root)
    _require_planned(packages, downloads, order.contract)
    generalise(root)
    _require_contract(root, order.contract)
    virtual_bytes = make_disk(
        root,
        disk,
        identity=identity,
        distribution=order.distribution,
        architecture=order.architecture,
    )
    with disk.open("rb") as file:
        disk_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = ImageManifest(
        name=name,
        architecture=order.architecture,
        distribution=order.distribution,
        identity=identity,
        contract_sha256=order.contract.sha256,
        contents_sha256=contents_digest(root),
        disk_sha256=disk_sha256,
        disk_bytes=disk.stat().st_size,
        virtual_bytes=virtual_bytes,
        packages=packages,
        provides=_provided(root),
    )
    if order.keep_root:
        kept = _root_of(name, order.out)
        shutil.rmtree(kept, ignore_errors=True)
        root.rename(kept)
    written = folder / "manifest"
    written.write_text(manifest.model_dump_json(indent=2) + "\n")
    # The manifest last: a disk without one is no image.
    disk.replace(order.out / f"{name}.qcow2")
    written.replace(order.out / f"{name}.json")
    return manifest


def _make_root(recipe: Recipe, script: Path, root: Path) -> None:
    script.write_text(recipe.provision)
    run(
        *(recipe.folder / "make-root", recipe.distribution, recipe.architecture, script, root),
        f"--include={','.join(recipe.machine_packages())}",
        # Python then compiles its modules in a way that no time of a file changes.
        variables={"SOURCE_DATE_EPOCH": str(EPOCH_SECONDS)},
        shown=True,
    )
    run("cp", "-r", "--no-preserve=ownership", f"{recipe.folder / 'machine'}/.", root)
    # Debian enables neither for a computer whose network others configure.
    run("systemctl", f"--root={root}", "enable", "systemd-networkd", "systemd-resolved")


def _require_contract(root: Path, contract: ContractFile) -> None:
    """Require that a root folder is as the contract says.

    Raises:
        ImageBuildError: it is not; with each line that does not hold.
    """
    answer = run("sh", "-s", "--", root, stdin=check_script(contract, Subject.IMAGE))
    try:
        checked = parse_check(contract, Subject.IMAGE, answer)
    except CheckUnreadableError as error:
        raise ImageBuildError(str(error)) from error
    wrong = [*checked.violations, *checked.unseen]
    if wrong:
        raise ImageBuildError(
            f"the image is not as its contract says: {'; '.join(map(str, wrong))}"
        )


def _installed(root: Path) -> dict[str, str]:
    """Return the version of each installed package of a root folder."""
    return dict(line.split(" ", 1) for line in _shown(root, "${Package} ${Version}"))


def _provided(root: Path) -> tuple[str, ...]:
    """Return what the installed packages provide besides, each as its package says it."""
    named = (each.strip() for line in _shown(root, "${Provides}") for each in line.split(","))
    return tuple(sorted({each for each in named if each}))


def _shown(root: Path, fields: str) -> list[str]:
    """Return fields of each installed package of a root folder."""
    query = ("dpkg-query", "--admindir", root / "var/lib/dpkg", "--show", "--showformat")
    lines = run(*query, f"${{db:Status-Abbrev}} {fields}\n").splitlines()
    return [line.removeprefix("ii  ") for line in lines if line.startswith("ii ")]


def _require_planned(
    packages: Mapping[str, str], downloads: list[Download], contract: ContractFile
) -> None:
    """Require that the image has the packages that its identity names.

    Raises:
        ImageBuildError: it has another version, or another package.
    """
    planned = {each.name: each.version for each in downloads}
    wrong = [
        f"{name}: planned {version}, installed {packages.get(name)}"
        for name, version in planned.items()
        if packages.get(name) != version
    ]
    # The contract's own downloads bring what they depend on.
    if not contract.contract.downloads:
        wrong += [f"{name}: not planned" for name in packages if name not in planned]
    if wrong:
        raise ImageBuildError(
            "the sources changed during the build; start it again: " + "; ".join(wrong[:5])
        )
