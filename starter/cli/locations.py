"""Locations that commands name: whether there is such a provider, and whether it has the region."""

import asyncio

from relight.settings import load_settings
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.output import note


def require_location(provider: str, region: str, *, unchecked: bool) -> None:
    """Check that a provider has a region; with `unchecked`, note that this is not known.

    Args:
        provider: the name of its driver.
        region: the provider's name of it.
        unchecked: do not ask the provider.

    Raises:
        BadInputError: there is no such driver, or the provider has no such region.
        RefusedError: the provider cannot be asked from here.
    """
    from relight.locations import ProviderNotAskedError, why_no_location  # noqa: PLC0415 - httpx

    if unchecked:
        note(f"not checked: whether there is a region {provider}/{region}")
        return
    try:
        why_not = asyncio.run(why_no_location(load_settings(), provider, region))
    except ProviderNotAskedError as error:
        msg = (
            f"{error}\nSo it is not known whether there is a region {provider}/{region}, and "
            "nothing was changed; --unchecked skips this check"
        )
        raise RefusedError(msg) from None
    if why_not is not None:
        raise BadInputError(why_not)
