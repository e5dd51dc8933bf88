"""The providers that the settings configure, and whether one has a region.

A worker and a command use the same drivers.
"""

from collections.abc import Mapping

from pydantic import SecretStr

from relight.providers.driver import (
    ProviderDriver,
    ProviderError,
    UnknownLocationError,
    region_named,
)
from relight.providers.registry import PROVIDERS, open_drivers
from relight.settings import Settings


class ProviderNotAskedError(Exception):
    """A provider could not be asked from here."""


def configured_drivers(settings: Settings) -> Mapping[str, ProviderDriver]:
    """Return the drivers by name; the caller closes them.

    Raises:
        OSError: the file with a token cannot be read.
    """
    lab = settings.lab
    token = SecretStr(lab.token_file.read_text().strip()) if lab.token_file else None
    return open_drivers(lab_url=lab.url, lab_token=token)


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
    except OSError as error:
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
