"""What a source lists: its releases, and what it has that is none, or could not be read."""

from relight.domain.base import Message, ShortText
from relight.domain.release import Release
from relight.releases.errors import RepositoryError


class LeftOut(Message):
    """Something that is not among the releases of a list.

    Attributes:
        name: its tag, or the name of its file.
        kind: of the fault.
        reason: one sentence for a person.
        unread: it could not be read, and may be a release all the same.
    """

    name: ShortText
    kind: str
    reason: ShortText
    unread: bool

    @classmethod
    def by(cls, name: str, error: RepositoryError, *, unread: bool) -> "LeftOut":
        """Return what was left out because of an error."""
        return cls(name=name, kind=error.kind, reason=str(error), unread=unread)


class ReleaseList(Message):
    """The releases of a source.

    Attributes:
        releases: newest last.
        left_out: what may be a release, and cannot be rolled out or could not be read.
    """

    releases: tuple[Release, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether something could not be read, so that the source may have more releases."""
        return any(each.unread for each in self.left_out)
