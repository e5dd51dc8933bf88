"""Which published image a new machine is made of."""

from collections.abc import Collection, Iterable

from relight.domain.base import Message
from relight.domain.image.image import ImageName
from relight.domain.image.publication import ImageInRegion
from relight.domain.machine import Machine, MachineImage, Region
from relight.domain.names import CheckName, ScopeName
from relight.domain.release import Release


class ChooseImageInput(Message):
    """Choose the image of a new machine; refuse one that the machine's release cannot run on.

    Attributes:
        region: of the machine.
        release: that it will run.
        name: of the image that it has to be made of; None: the pinned or the newest one.
    """

    region: Region
    release: Release
    name: ImageName | None = None


class ImageChosen(Message):
    """The image for a new machine.

    Attributes:
        image: None: what the settings say of the location.
    """

    image: MachineImage | None = None


class CheckImageRolloutInput(Message):
    """Check that the machines of a scope can be replaced by machines of an image; or refuse.

    Attributes:
        checks: the checks that will run after each wave.
    """

    image_name: ImageName
    scope: ScopeName
    checks: tuple[CheckName, ...] = ()


class ImageRolloutChecked(Message):
    """Nothing speaks against the rollout.

    Attributes:
        architecture: of the image.
    """

    architecture: str


class CheckContractInput(Message):
    """Check a new machine against the contract of its image, before it serves."""

    machine: Machine
    image: MachineImage


def choose_image(
    images: Iterable[ImageInRegion], architecture: str, stopped: Collection[ImageName] = ()
) -> ImageInRegion | None:
    """Return the image of a region for new machines; None: what the settings say of it.

    The pinned one, also if the region lacks it: a person has said that no other will do. Else the
    newest one that the region has. One whose last rollout was stopped is taken only if it is
    pinned: machines of it have failed.

    Args:
        images: those of the region, in any order.
        architecture: of the machine.
        stopped: images whose last rollout was stopped.
    """
    fitting = [each for each in images if each.architecture == architecture]
    pinned = next((each for each in fitting if each.pinned), None)
    if pinned is not None:
        return pinned
    usable = [each for each in fitting if each.ref is not None and each.name not in stopped]
    return max(usable, key=lambda each: (each.recorded_at, each.name), default=None)
