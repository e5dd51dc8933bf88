"""Which images the fleet needs: an architecture each, and the regions that want it.

The regions are those of the settings of providers, `providers.toml`: there is no second list.
"""

from collections import defaultdict
from collections.abc import Mapping

from relight.domain.base import Message
from relight.domain.image.image import ImageName
from relight.domain.image.label import image_name
from relight.domain.release import ArchitectureName
from relight.locations import provider_settings
from relight.provider_settings import providers_file
from relight.setting_groups import SettingsError
from relight.settings import Settings


class ImageNeeded(Message):
    """An image that the fleet needs.

    Attributes:
        architecture: Debian's name, as in `amd64`.
        image: its name; None without a label.
        providers: the regions of this architecture, by provider, both ordered.
    """

    architecture: ArchitectureName
    image: ImageName | None
    providers: Mapping[str, tuple[str, ...]]


def images_needed(settings: Settings, label: str | None, prefix: str) -> tuple[ImageNeeded, ...]:
    """Return an image for each architecture of the configured regions, ordered by architecture.

    No provider is asked, and no secret is read.

    Args:
        settings: of the installation.
        label: of the build; None: the images have no names yet.
        prefix: of the names.

    Raises:
        SettingsError: no cloud is configured, or the settings of one cannot be used.
        ValueError: the prefix and the label make no name.
    """
    by_architecture: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(settings.providers):
        for region in provider_settings(settings, name).regions(name):
            by_architecture[region.architecture][name].append(region.name)
    if not by_architecture:
        file = providers_file(settings.home, settings.providers_file)
        raise SettingsError(
            f"no cloud is configured, so no image is needed: {file} has no table of a provider, "
            "and no RELIGHT_PROVIDERS__* is set; RELIGHT_PROVIDERS_FILE names another file"
        )
    return tuple(
        ImageNeeded(
            architecture=architecture,
            image=image_name(label, architecture, prefix) if label else None,
            providers={name: tuple(regions) for name, regions in providers.items()},
        )
        for architecture, providers in sorted(by_architecture.items())
    )
