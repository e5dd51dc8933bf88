"""What a .deb needs on a machine, as the field `Depends` of its control file says it."""

from collections.abc import AsyncIterator

from debian.deb822 import PkgRelation

from relight.domain.image.fit import Dependency
from relight.releases.deb_control import DebControl, IncompleteError, read_control
from relight.releases.errors import RepositoryUnavailableError


def parse_dependencies(depends: str) -> tuple[tuple[Dependency, ...], ...]:
    """Return the dependencies of a package; each is a choice of which one is enough.

    Args:
        depends: as in `DebControl.depends`.
    """
    wanted = ", ".join(part.strip() for part in depends.split(",") if part.strip())
    if not wanted:
        return ()
    return tuple(
        tuple(
            Dependency(
                name=each["name"],
                relation=(each.get("version") or ("", ""))[0],
                version=(each.get("version") or ("", ""))[1],
            )
            for each in choice
        )
        for choice in PkgRelation.parse_relations(wanted)
    )


async def control_of(chunks: AsyncIterator[bytes]) -> DebControl:
    """Return what a .deb says of itself, from as much of its content as that needs.

    Raises:
        RepositoryUnavailableError: the content ends too early.
        RepositoryError: it is no .deb.
    """
    beginning, needed_bytes = b"", 0
    async for chunk in chunks:
        beginning += chunk
        if len(beginning) < needed_bytes:
            continue
        try:
            return read_control(beginning)
        except IncompleteError as error:
            needed_bytes = error.needed_bytes
    raise RepositoryUnavailableError("a package ends before its control file does")
