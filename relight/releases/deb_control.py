"""What a .deb says of itself: its package, version and architecture.

A .deb is an ar archive. Its first members are `debian-binary` and `control.tar`, so its beginning
is enough. Pure. Raises `RepositoryError`.
"""

import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from debian import deb822
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import DebianVersion, PackageName
from relight.domain.release import ArchitectureName
from relight.releases.compression import BROKEN, decompressed
from relight.releases.errors import RepositoryError

MAX_CONTROL_BYTES: Final = 4 * 1024 * 1024
"""Of the beginning of a .deb up to the end of its compressed `control.tar`. That of a kernel, with
the checksums of thousands of files, has a tenth."""

_MAX_TAR_BYTES = 32 * 1024 * 1024
_MAX_FILE_BYTES = 256 * 1024

MAGIC: Final = b"!<arch>\n"
HEADER_BYTES: Final = 60
_END_OF_HEADER = b"`\n"

_PACKAGE: TypeAdapter[str] = TypeAdapter(PackageName)
_VERSION: TypeAdapter[str] = TypeAdapter(DebianVersion)
_ARCHITECTURE: TypeAdapter[str] = TypeAdapter(ArchitectureName)


@dataclass(frozen=True)
class DebControl:
    """The fields that identify a .deb. Its architecture may be `all`."""

    package: str
    version: str
    architecture: str


class IncompleteError(Exception):
    """The beginning of a .deb is too short.

    Attributes:
        needed_bytes: how much of the file is needed.
    """

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(f"{needed_bytes} bytes are needed")
        self.needed_bytes = needed_bytes


def read_control(beginning: bytes) -> DebControl:
    """Return what a .deb says of itself.

    Args:
        beginning: the file, from its first byte.

    Raises:
        IncompleteError: more of the file is needed.
        RepositoryError: it is no .deb, or one that is malformed.
    """
    return identity(control_fields(read_control_files(beginning)))


def read_control_files(beginning: bytes, names: Collection[str] = ()) -> dict[str, bytes]:
    """Return files of a .deb's `control.tar` by their names: `control`, and those that are named.

    Args:
        beginning: the file, from its first byte.
        names: such as `conffiles` and `postinst`; those that it does not have are left out.

    Raises:
        IncompleteError: more of the file is needed.
        RepositoryError: it is no .deb, or one that is malformed.
    """
    name, content = _control_tar(beginning)
    try:
        tar = decompressed(content, name).read(_MAX_TAR_BYTES + 1)
        if len(tar) > _MAX_TAR_BYTES:
            raise RepositoryError(f"its {name} has more than {_MAX_TAR_BYTES} bytes")
        return _files_of(tar, {"control", *names})
    except (*BROKEN, tarfile.TarError) as error:
        raise RepositoryError(f"its {name} cannot be read: {error}") from error


def control_fields(files: Mapping[str, bytes]) -> deb822.Deb822:
    """Return the fields of the control file.

    Raises:
        RepositoryError: there is no control file.
    """
    if "control" not in files:
        raise RepositoryError("its control.tar has no control file")
    return deb822.Deb822(files["control"])


def identity(fields: Mapping[str, str]) -> DebControl:
    """Return the fields that identify a .deb.

    Raises:
        RepositoryError: one is missing or malformed.
    """
    try:
        return DebControl(
            package=_PACKAGE.validate_python(fields["Package"]),
            version=_VERSION.validate_python(fields["Version"]),
            architecture=_ARCHITECTURE.validate_python(fields["Architecture"]),
        )
    except KeyError as error:
        raise RepositoryError(f"its control file lacks {error}") from error
    except ValidationError as error:
        raise RepositoryError(
            f"its control file is malformed: {error.errors()[0]['msg']}"
        ) from error


def member_of(header: bytes) -> tuple[str, int]:
    """Return the name and the size in bytes of the archive's member that a header describes.

    Raises:
        RepositoryError: it is no header.
    """
    name = header[:16].decode(errors="replace").rstrip(" ").rstrip("/")
    size = header[48:58].strip()
    if header[58:] != _END_OF_HEADER or not size.isdigit():
        raise RepositoryError("it is not a Debian package")
    return name, int(size)


def _control_tar(beginning: bytes) -> tuple[str, bytes]:
    """Return the name and the content of the archive's member `control.tar`, still compressed."""
    if not MAGIC.startswith(beginning[: len(MAGIC)]):
        raise RepositoryError("it is not a Debian package")
    start = len(MAGIC)
    while True:
        name, size_bytes = member_of(_span(beginning, start, HEADER_BYTES))
        content = start + HEADER_BYTES
        if name.startswith("control.tar"):
            return name, _span(beginning, content, size_bytes)
        if name.startswith("data.tar"):
            raise RepositoryError("it is not a Debian package: it has no control.tar")
        start = content + size_bytes + size_bytes % 2


def _span(beginning: bytes, start: int, size_bytes: int) -> bytes:
    end = start + size_bytes
    if end > MAX_CONTROL_BYTES:
        raise RepositoryError(f"its control.tar does not end within {MAX_CONTROL_BYTES} bytes")
    if end > len(beginning):
        raise IncompleteError(end)
    return beginning[start:end]


def _files_of(tar: bytes, names: Collection[str]) -> dict[str, bytes]:
    files = {}
    with tarfile.open(fileobj=BytesIO(tar), mode="r:") as members:
        for member in members:
            name = member.name.removeprefix("./")
            if name in names and name not in files and member.isfile():
                file = members.extractfile(member)
                assert file is not None
                files[name] = file.read(_MAX_FILE_BYTES)
    return files
