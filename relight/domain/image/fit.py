"""Whether an image holds what a release needs. A machine is not made to find that it does not."""

from collections.abc import Callable, Collection, Sequence

from relight.domain.base import Message
from relight.domain.image.image import ImageManifest
from relight.domain.names import ReleaseTag

MAX_NAMED = 10
"""So many missing packages are named; the others are counted."""

_HOLDS: dict[str, Callable[[int], bool]] = {
    "<<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    "=": lambda order: order == 0,
    ">=": lambda order: order >= 0,
    ">>": lambda order: order > 0,
    # Old forms, which dpkg takes for these.
    "<": lambda order: order <= 0,
    ">": lambda order: order >= 0,
}

Compare = Callable[[str, str], int]
"""Returns below 0 if a Debian version is older than another, 0 if they are equal, else above."""


class Dependency(Message):
    """A package that is needed, or one of several of which one is.

    Attributes:
        name: of the package, or of what packages provide.
        relation: of the versions: `<<`, `<=`, `=`, `>=`, `>>`, or an old form; empty: any version.
        version: that the relation is about; empty without one.
    """

    name: str
    relation: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.relation} {self.version})" if self.relation else self.name


class ReleaseNeeds(Message):
    """What the package of a release needs on a machine of one architecture.

    Attributes:
        tag: of the release.
        dependencies: each is a choice of packages of which one is enough.
        offered: packages that machines get from the source of the release itself.
    """

    tag: ReleaseTag
    dependencies: tuple[tuple[Dependency, ...], ...]
    offered: frozenset[str] = frozenset()


NO_RELEASE = (
    "no release is desired, so a machine made of it would serve nothing: "
    "`relight settings set --help` shows how to declare one"
)


def why_unfit(
    manifest: ImageManifest, desired: Sequence[ReleaseNeeds], compare: Compare
) -> str | None:
    """Return why machines of an image could not serve; None if they can.

    Args:
        manifest: of the image.
        desired: the releases that machines of it would get: those of the fleet and of its tracks,
            or the one of a machine. None of them is itself a reason.
        compare: the order of two versions.
    """
    if not desired:
        return f"image {manifest.name}: {NO_RELEASE}"
    return next(filter(None, (_why_lacking(manifest, each, compare) for each in desired)), None)


def _why_lacking(manifest: ImageManifest, needs: ReleaseNeeds, compare: Compare) -> str | None:
    lacking = [
        " or ".join(map(str, choice))
        for choice in needs.dependencies
        if not any(_is_held(manifest, needs.offered, each, compare) for each in choice)
    ]
    if not lacking:
        return None
    named = ", ".join(lacking[:MAX_NAMED])
    more = f" and {len(lacking) - MAX_NAMED} more" if len(lacking) > MAX_NAMED else ""
    return (
        f"image {manifest.name} lacks what {needs.tag} depends on: {named}{more}; add it to the "
        "contract of the image, and build and publish the image again"
    )


def _is_held(
    manifest: ImageManifest, offered: Collection[str], wanted: Dependency, compare: Compare
) -> bool:
    """Return whether a dependency is installed, provided, or comes with the release itself."""
    if wanted.name in offered:
        return True
    versions = [manifest.packages[wanted.name]] if wanted.name in manifest.packages else []
    for each in manifest.provides:
        name, _, version = each.partition(" ")
        # A name that is provided without a version satisfies no dependency on a version.
        if name == wanted.name and (version or not wanted.relation):
            versions.append(version.removeprefix("(= ").removesuffix(")"))
    if not wanted.relation:
        return bool(versions)
    holds = _HOLDS.get(wanted.relation)
    return holds is not None and any(holds(compare(each, wanted.version)) for each in versions)
