"""The service file that `relight init PACKAGE|FILE.deb` writes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from relight.domain.names import PackageName
from relight.inspection.packages import Find, beside, by_apt, in_source
from relight.inspection.service import InspectedService, NoServiceError, inspect_deb
from relight.inspection.service_toml import service_toml
from relight.release_source import release_source_config
from relight.releases.errors import RepositoryError
from relight.service_file import service_file
from relight.settings import Settings, load_settings
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.output import note, print_json, print_line, print_table
from starter.cli.session import announce
from starter.local.home import make_private_folder, write_private

_PACKAGE: TypeAdapter[str] = TypeAdapter(PackageName)

_APT = "apt of this computer"


class ReadService(NamedTuple):
    """What was read.

    Attributes:
        service: of the package.
        origin: where the package was found, in words.
    """

    service: InspectedService
    origin: str


def write_service_file(target: str, *, force: bool, dry_run: bool, json: bool) -> None:
    """Inspect a package, write its service file, and print what was found.

    Args:
        target: a package, or a .deb's file.
        force: write over an existing service file.
        dry_run: write nothing, and print the file.
        json: print the answer as JSON.

    Raises:
        BadInputError: there is no such package, it is no .deb, or it has no service.
        RefusedError: there is a service file, or no source of packages answers.
    """
    settings = load_settings(to_make=True, ignore_service_file=True)
    file = service_file(settings.home, settings.service_file).absolute()
    if file.exists() and not (force or dry_run):
        raise RefusedError(
            f"{file} exists, and may have what a person has written. Nothing was changed; --force"
            " writes over it, --dry-run shows what would be written"
        )
    if not dry_run:
        announce(settings)
    read = read_service(target, settings)
    text = service_toml(read.service)
    if not dry_run:
        make_private_folder(file.parent)
        write_private(file, text)
    if json:
        answer = read.service.model_dump(mode="json")
        print_json({**answer, "origin": read.origin, "file": None if dry_run else str(file)})
    elif dry_run:
        print_line(text.rstrip("\n"))
    else:
        _print(read, file)


def read_service(target: str, settings: Settings) -> ReadService:
    """Return the service of a package, or of a .deb.

    Raises:
        BadInputError: there is no such package, it is no .deb, or it has no service.
        RefusedError: no source of packages answers.
    """
    return _read_file(Path(target)) if is_file(target) else _read_package(target, settings)


def is_file(target: str) -> bool:
    """Whether a file is meant, and no name of a package."""
    return target.endswith(".deb") or "/" in target


def package_name(name: str) -> str:
    """Return the name of a package.

    Raises:
        BadInputError: it is none.
    """
    try:
        return _PACKAGE.validate_python(name)
    except ValidationError:
        msg = f"{name!r} is neither the name of a package nor a file that ends in .deb"
        raise BadInputError(msg) from None


def _read_file(file: Path) -> ReadService:
    try:
        return ReadService(inspect_deb(file, beside(file)), str(file))
    except RepositoryError as error:
        raise BadInputError(str(error)) from None


def _read_package(name: str, settings: Settings) -> ReadService:
    """Read a package from the fleet's source of releases, else from this computer's apt."""
    package_name(name)
    tried = ""
    with TemporaryDirectory(prefix="relight-init-") as folder:
        if has_source(settings):
            config = release_source_config(settings)
            if read := _found(name, in_source(config, Path(folder)), config.address):
                return read
            note(f"{config.address} has no package {name}: asking the {_APT}")
            tried = f"{config.address}, nor of "
        if read := _found(name, by_apt(Path(folder)), f"the {_APT}"):
            return read
    raise BadInputError(f"there is no package {name} of {tried}the {_APT}")


def has_source(settings: Settings) -> bool:
    """Whether a source of releases is set."""
    return bool(settings.repository.url or settings.github.repository or settings.directory.path)


def _found(name: str, find: Find, origin: str) -> ReadService | None:
    """Return what was found of a package; None if there is none."""
    try:
        file = find(name)
        return None if file is None else ReadService(inspect_deb(file, find), origin)
    except NoServiceError as error:
        raise BadInputError(str(error)) from None
    except RepositoryError as error:
        raise RefusedError(f"{error}. Nothing was changed") from None


def _print(read: ReadService, file: Path) -> None:
    service = read.service
    told = {key: value for key, value in service.values.items() if key != "package"}
    rows = [
        ("package", f"{service.package} {service.version} ({service.architecture})"),
        ("read from", read.origin),
        ("process model", service.model),
        *((key, _words(value)) for key, value in told.items()),
        ("why this unit", service.reason),
    ]
    print_table(("service", "is"), rows)
    for title, lines in (
        ("configuration files", service.configuration),
        ("to know", service.notes),
        ("could not be told", service.unknown),
    ):
        for each in lines:
            print_line(f"{title}: {each}")
    print_line(f"written to {file}. A worker reads it when it starts")


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
