"""What `relight provider list` and `check` show: the drivers, and what a provider says of us."""

from relight.domain.base import Message
from relight.domain.machine import Region
from relight.locations import ProviderNotAskedError, configured_drivers
from relight.providers.driver import ProviderDriver, ProviderError
from relight.providers.registry import PROVIDERS
from relight.providers.report import Reporting
from relight.setting_groups import SettingsError
from relight.settings import Settings


class ProviderListed(Message):
    """A driver of this installation.

    Attributes:
        configured: whether its settings are there.
        regions: in which it can create machines.
        problem: why it cannot be used, though it is configured; empty if it can.
    """

    name: str
    configured: bool
    regions: tuple[Region, ...] = ()
    problem: str = ""


class RegionChecked(Message):
    """A configured region, as its provider describes it.

    Attributes:
        image: the one that a machine would get; None if there is none, or it was not asked for.
        problems: why no machine could be made there.
    """

    name: str
    architecture: str
    image: str | None = None
    problems: tuple[str, ...] = ()


class ProviderChecked(Message):
    """A provider, as it answered.

    Attributes:
        account: who the credentials belong to; empty if the driver does not tell.
        rights: of the credentials, in the provider's words.
        machines: how many the account has, of any owner.
        user_data_max_bytes: how much user-data it takes; None if no limit is known.
        limits: of the account, by name.
        problems: of the account as a whole.
    """

    name: str
    account: str
    rights: tuple[str, ...]
    regions: tuple[RegionChecked, ...]
    machines: int
    user_data_max_bytes: int | None
    limits: dict[str, str]
    problems: tuple[str, ...]

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Those of the account, and those of each region."""
        of_regions = [f"{each.name}: {text}" for each in self.regions for text in each.problems]
        return (*self.problems, *of_regions)


async def list_providers(settings: Settings) -> list[ProviderListed]:
    """Return every driver, configured or not; a lab or a cloud is asked nothing but its regions."""
    found = []
    for name in PROVIDERS:
        try:
            drivers = configured_drivers(settings, only=name)
        except (OSError, SettingsError) as error:
            found.append(ProviderListed(name=name, configured=True, problem=str(error)))
            continue
        if name not in drivers:
            found.append(ProviderListed(name=name, configured=False))
            continue
        found.append(await _listed(drivers[name]))
    return found


async def check_provider(settings: Settings, name: str) -> ProviderChecked:
    """Return what a provider answers; nothing is changed.

    Raises:
        SettingsError: there is no such driver, or its settings cannot be used; the text names the
            variables that it needs.
        ProviderNotAskedError: it gave no answer, or refused.
    """
    if name not in PROVIDERS:
        raise SettingsError(f"there is no driver {name}; the drivers: {', '.join(PROVIDERS)}")
    try:
        drivers = configured_drivers(settings, only=name, required=True)
    except OSError as error:
        raise SettingsError(str(error)) from error
    driver = drivers[name]
    try:
        return await _checked(driver)
    except ProviderError as error:
        raise ProviderNotAskedError(str(error)) from error
    finally:
        await driver.close()


async def _listed(driver: ProviderDriver) -> ProviderListed:
    try:
        return ProviderListed(name=driver.name, configured=True, regions=await driver.regions())
    except ProviderError as error:
        return ProviderListed(name=driver.name, configured=True, problem=str(error))
    finally:
        await driver.close()


async def _checked(driver: ProviderDriver) -> ProviderChecked:
    limit = driver.user_data_limit
    account, rights, limits, problems = "", tuple[str, ...](), dict[str, str](), tuple[str, ...]()
    if isinstance(driver, Reporting):
        report = await driver.report()
        account, rights, problems = report.account, report.rights, report.problems
        limits = dict(report.limits)
        regions = tuple(
            RegionChecked(
                name=each.name,
                architecture=each.architecture,
                image=each.image,
                problems=each.problems,
            )
            for each in report.regions
        )
    else:
        regions = tuple(
            RegionChecked(name=each.name, architecture=each.architecture)
            for each in await driver.regions()
        )
    listing = await driver.list()
    if not listing.complete:
        problems = (*problems, "its listing of machines is incomplete")
    return ProviderChecked(
        name=driver.name,
        account=account,
        rights=rights,
        regions=regions,
        machines=len(listing.machines),
        user_data_max_bytes=None if limit is None else limit.max_bytes,
        limits=limits,
        problems=problems,
    )
