"""The declaration of a service of Debian: what `relight init` writes for its package."""

import asyncio

from lab.debian import DebianPackage
from relight.inspection.packages import beside
from relight.inspection.service import inspect_deb
from relight.inspection.service_toml import service_toml


async def declare(package: DebianPackage) -> str:
    """Return the service file of a package, from the .deb files alone.

    Raises:
        RepositoryError: the package has no service, or its files cannot be read.
    """
    own = next(deb.file for deb in package.moving if deb.name == package.name)
    return service_toml(await asyncio.to_thread(inspect_deb, own, beside(own)))
