"""What is in a .deb: its fields, its scripts, the paths of its files, and some of these files.

The data are read as a stream, with limits: a small file may decompress to more than the memory
holds. Blocks. Raises `RepositoryError`.
"""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast

from relight.domain.error_words import error_words
from relight.releases.compression import BROKEN, decompressed
from relight.releases.deb_control import (
    HEADER_BYTES,
    MAGIC,
    MAX_CONTROL_BYTES,
    DebControl,
    IncompleteError,
    control_fields,
    identity,
    member_of,
    read_control_files,
)
from relight.releases.errors import RepositoryError

MAX_DATA_BYTES: Final = 8 * 1024**3
"""Of the decompressed data. Those of the largest packages of Debian have a third."""

MAX_PATHS: Final = 500_000
MAX_TEXT_BYTES: Final = 64 * 1024
MAX_TEXTS: Final = 2_000

_SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class DebContents:
    """What is in a .deb.

    Attributes:
        control: what identifies it.
        fields: of its control file.
        conffiles: the paths of its configuration files.
        scripts: its maintainer scripts by name, as in `postinst`.
        paths: of its files and symbolic links, as on the host: `/usr/bin/box`.
        links: of its symbolic links, where they lead as they say.
        texts: the contents of those files that were asked for, up to `MAX_TEXT_BYTES`.
    """

    control: DebControl
    fields: Mapping[str, str]
    conffiles: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def read_deb(file: Path, wanted: Callable[[str], bool]) -> DebContents:
    """Return what is in a .deb.

    Args:
        file: the .deb.
        wanted: whether the content of the file with this path is needed.

    Raises:
        RepositoryError: it cannot be read, is no .deb, is malformed, or larger than the limits.
    """
    try:
        with file.open("rb") as opened:
            files = read_control_files(opened.read(MAX_CONTROL_BYTES), ("conffiles", *_SCRIPTS))
            fields = control_fields(files)
            name, data = _data_tar(opened)
            read = _Data(wanted)
            try:
                read.all_of(_Limited(decompressed(data, name)))
            except (*BROKEN, tarfile.TarError) as error:
                raise RepositoryError(f"its {name} cannot be read: {error}") from error
    except IncompleteError as error:
        raise RepositoryError("it ends too early") from error
    except OSError as error:
        raise RepositoryError(f"it cannot be read: {error_words(error)}") from error
    return DebContents(
        control=identity(fields),
        fields={str(key): fields[key] for key in fields},
        conffiles=tuple(_conffiles(files.get("conffiles", b""))),
        scripts={name: _text(files[name]) for name in _SCRIPTS if name in files},
        paths=frozenset(read.paths),
        links=read.links,
        texts=read.texts,
    )


class _Data:
    """What was read of the data."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self.paths: set[str] = set()
        self.links: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def all_of(self, stream: "_Limited") -> None:
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as members:
            for member in members:
                self._add(members, member)
                # What was read is kept for seeking back, which a stream cannot.
                members.members = []  # type: ignore[attr-defined] # typeshed lacks it

    def _add(self, members: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = "/" + member.name.removeprefix("./").strip("/")
        if member.isdir():
            return
        self.paths.add(path)
        if len(self.paths) > MAX_PATHS:
            raise RepositoryError(f"it has more than {MAX_PATHS} files")
        if member.issym():
            self.links[path] = member.linkname
        elif member.isfile() and self._wanted(path):
            if len(self.texts) == MAX_TEXTS:
                raise RepositoryError(f"it has more than {MAX_TEXTS} units and configuration files")
            opened = members.extractfile(member)
            assert opened is not None
            self.texts[path] = _text(opened.read(MAX_TEXT_BYTES))


class _Limited:
    """A stream that ends with an error at the limit."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = MAX_DATA_BYTES

    def read(self, count: int) -> bytes:
        content = self._stream.read(count)
        self._left -= len(content)
        if self._left < 0:
            raise RepositoryError(f"its data have more than {MAX_DATA_BYTES} bytes")
        return content


class _Member(io.RawIOBase):
    """A member of the archive, read from where the file is now."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        content = self._file.read(min(len(view), self._left))
        view[: len(content)] = content
        self._left -= len(content)
        return len(content)


def check_whole(file: BinaryIO) -> None:
    """Check that a .deb has all its members up to their ends, as it has not while it is copied.

    Raises:
        IncompleteError: it ends too early.
        RepositoryError: it is no .deb.
    """
    names = [name for name, _ in _members(file)]
    if not any(name.startswith("data.tar") for name in names):
        raise IncompleteError(file.seek(0, io.SEEK_END) + HEADER_BYTES)


def _data_tar(file: BinaryIO) -> tuple[str, BinaryIO]:
    """Return the name and the content of the archive's member `data.tar`, still compressed."""
    for name, size_bytes in _members(file):
        if name.startswith("data.tar"):
            return name, io.BufferedReader(_Member(file, size_bytes), _READ_BYTES)
    raise RepositoryError("it is not a Debian package: it has no data.tar")


def _members(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield the name and the size in bytes of each member of the archive, with the file at it.

    Raises:
        IncompleteError: the file ends before a member does.
        RepositoryError: it is no archive.
    """
    start, end = len(MAGIC), file.seek(0, io.SEEK_END)
    while start < end:
        file.seek(start)
        header = file.read(HEADER_BYTES)
        start += HEADER_BYTES
        if start > end:
            raise IncompleteError(start)
        name, size_bytes = member_of(header)
        if start + size_bytes > end:
            raise IncompleteError(start + size_bytes)
        yield name, size_bytes
        start += size_bytes + size_bytes % 2


def _conffiles(content: bytes) -> list[str]:
    """Return the paths; a line may begin with a flag, as in `remove-on-upgrade /etc/box`."""
    lines = (line.strip() for line in _text(content).splitlines())
    return [line for line in lines if line.startswith("/")]


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
