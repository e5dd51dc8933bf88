"""The providers that the settings configure, and whether one has a region.

A worker and a command use the same drivers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError

from relight.provider_settings import (
    bad_provider_settings,
    providers_file,
    read_providers_file,
    variable_of,
)
from relight.providers.driver import (
    ProviderDriver,
    ProviderError,
    UnknownLocationError,
    region_named,
)
from relight.providers.lab import LabDriver
from relight.providers.locations import (
    LocationSettings,
    ProviderSettings,
    SecretFileError,
    read_secret,
)
from relight.providers.registry import CLOUDS, PROVIDERS, open_drivers
from relight.setting_groups import SettingsError
from relight.settings import Settings

if TYPE_CHECKING:
    from relight.images.staging import Staging


class ProviderNotAskedError(Exception):
    """A provider could not be asked from here."""


def configured_drivers(
    settings: Settings, *, only: str | None = None, required: bool = False
) -> Mapping[str, ProviderDriver]:
    """Return the drivers by name; the caller closes them.

    Args:
        settings: of the installation.
        only: the name of the one that is wanted; None: all that are configured.
        required: whether that one has to be configured.

    Raises:
        OSError: the file with the lab's token cannot be read.
        SettingsError: the settings of a provider cannot be used, or a secret's file; or the
            required one is not configured.
    """
    lab, names = settings.lab, [*settings.providers]
    is_lab = only in {None, LabDriver.name}
    if only is not None:
        names = [only] if not is_lab and (required or only in settings.providers) else []
    if required and is_lab and not (lab.url and lab.token_file):
        missing = "RELIGHT_LAB__URL and RELIGHT_LAB__TOKEN_FILE are not set"
        raise SettingsError(f"{missing}; `relight up` sets them for a lab of your own")
    token = None
    if is_lab and lab.token_file:
        token = SecretStr(lab.token_file.read_text().strip())
    clouds = {name: provider_settings(settings, name) for name in names}
    try:
        return open_drivers(lab_url=lab.url, lab_token=token, clouds=clouds)
    except SecretFileError as error:
        raise SettingsError(f"RELIGHT_PROVIDERS__*: {error}") from error


def provider_settings(settings: Settings, name: str) -> ProviderSettings:
    """Return the settings of a cloud, as its driver reads them.

    Raises:
        SettingsError: there is no such driver, or they cannot be used; the text names the file or
            the variable, and the key.
    """
    file = providers_file(settings.home, settings.providers_file)
    cloud = CLOUDS.get(name)
    if cloud is None:
        known = ", ".join(CLOUDS) or "none"
        raise SettingsError(
            f"RELIGHT_PROVIDERS__* or {file}: there is no driver {name}; the drivers: {known}"
        )
    try:
        made: ProviderSettings = cloud.settings.model_validate(settings.providers.get(name, {}))
    except ValidationError as error:
        in_file = read_providers_file(settings.home, settings.providers_file).get(name, {})
        raise bad_provider_settings(name, error, file, in_file) from None
    return made


def configured_staging(settings: Settings, name: str) -> "Staging | None":
    """Return the object storage that a cloud imports base images from; None if none is set.

    Raises:
        SettingsError: as of `provider_settings`; or the secret's file, or the client of the storage
            (the extra `images`), is missing.
    """
    staging = provider_settings(settings, name).staging
    if staging is None:
        return None
    try:
        from relight.images.staging import Staging  # noqa: PLC0415 - its client is an extra

        return Staging(staging, read_secret(staging.secret_file), settings.fleet_owner)
    except SecretFileError as error:
        raise SettingsError(f"{variable_of(name, 'staging')}: {error}") from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{variable_of(name, 'staging')}: {error.name} is not installed: "
            "pip install 'relight[images]'"
        ) from error


def configured_stagings(settings: Settings) -> "dict[str, Staging]":
    """Return the object storage of each cloud that has one, by the cloud's name.

    Raises:
        SettingsError: as of `configured_staging`.
    """
    found = {name: configured_staging(settings, name) for name in settings.providers}
    return {name: staging for name, staging in found.items() if staging is not None}


def configured_locations(settings: Settings) -> Mapping[str, Mapping[str, LocationSettings]]:
    """Return what the settings say of each location of each cloud, by cloud and region.

    Raises:
        SettingsError: as of `provider_settings`.
    """
    return {name: provider_settings(settings, name).locations for name in settings.providers}


async def why_no_location(settings: Settings, provider: str, region: str) -> str | None:
    """Return why there is no such location, with those that there are; None if there is.

    Raises:
        ProviderNotAskedError: the provider is not configured here, or gives no answer.
    """
    if provider not in PROVIDERS:
        return (
            f"there is no driver for a provider {provider}; the providers: {', '.join(PROVIDERS)}"
        )
    try:
        drivers = configured_drivers(settings)
    except (OSError, SettingsError) as error:
        raise ProviderNotAskedError(str(error)) from error
    try:
        if provider not in drivers:
            raise ProviderNotAskedError(f"{provider} is not configured here")
        await region_named(drivers[provider], region)
    except UnknownLocationError as error:
        return str(error)
    except ProviderError as error:
        raise ProviderNotAskedError(str(error)) from error
    finally:
        for each in drivers.values():
            await each.close()
    return None
