"""What a .deb says of itself: its package, version and architecture.

A .deb is an ar archive. Its first members are `debian-binary` and `control.tar`, so its beginning
is enough. Pure. Raises `RepositoryError`.
"""

import tarfile
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
_MAX_FIELDS_BYTES = 256 * 1024

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_END_OF_HEADER = b"`\n"

_PACKAGE: TypeAdapter[str] = TypeAdapter(PackageName)
_VERSION: TypeAdapter[str] = TypeAdapter(DebianVersion)
_ARCHITECTURE: TypeAdapter[str] = TypeAdapter(ArchitectureName)


@dataclass(frozen=True)
class DebControl:
    """The fields that identify a .deb. Its architecture may be `all`.

    Attributes:
        depends: what it needs, as in `redis-tools (= 5:7.0.15-1), libc6 (>= 2.34)`.
    """

    package: str
    version: str
    architecture: str
    depends: str = ""

    @property
    def has_locked(self) -> bool:
        """Whether it needs another package in exactly its own version."""
        return f"(= {self.version})" in self.depends


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
    name, content = _control_tar(beginning)
    try:
        tar = decompressed(content, name).read(_MAX_TAR_BYTES + 1)
        if len(tar) > _MAX_TAR_BYTES:
            raise RepositoryError(f"its {name} has more than {_MAX_TAR_BYTES} bytes")
        fields = deb822.Deb822(_control_file(tar))
        return DebControl(
            package=_PACKAGE.validate_python(fields["Package"]),
            version=_VERSION.validate_python(fields["Version"]),
            architecture=_ARCHITECTURE.validate_python(fields["Architecture"]),
            depends=", ".join(
                fields[name] for name in ("Depends", "Pre-Depends") if name in fields
            ),
        )
    except KeyError as error:
        raise RepositoryError(f"its control file lacks {error}") from error
    except ValidationError as error:
        raise RepositoryError(
            f"its control file is malformed: {error.errors()[0]['msg']}"
        ) from error
    except (*BROKEN, tarfile.TarError) as error:
        raise RepositoryError(f"its {name} cannot be read: {error}") from error


def _control_tar(beginning: bytes) -> tuple[str, bytes]:
    """Return the name and the content of the archive's member `control.tar`, still compressed."""
    if not _MAGIC.startswith(beginning[: len(_MAGIC)]):
        raise RepositoryError("it is not a Debian package")
    start = len(_MAGIC)
    while True:
        header = _span(beginning, start, _HEADER_BYTES)
        name = header[:16].decode(errors="replace").rstrip(" ").rstrip("/")
        size = header[48:58].strip()
        if header[58:] != _END_OF_HEADER or not size.isdigit():
            raise RepositoryError("it is not a Debian package")
        content, size_bytes = start + _HEADER_BYTES, int(size)
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


def _control_file(tar: bytes) -> bytes:
    with tarfile.open(fileobj=BytesIO(tar), mode="r:") as members:
        for member in members:
            if member.name in {"control", "./control"} and member.isfile():
                file = members.extractfile(member)
                assert file is not None
                return file.read(_MAX_FIELDS_BYTES)
    raise RepositoryError("its control.tar has no control file")
