"""Runs the checks: all of them, or those that a worker cannot serve without."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from relight.doctor.check import Check, CheckFailedError, CheckResult, CheckStatus, Subject
from relight.doctor.checks import CHECKS
from relight.domain.fault.error import DomainError
from relight.engine.errors import NoHomeError, SetupError
from relight.home import is_home, no_home
from relight.hosts.keys import IdentityError
from relight.setting_groups import SettingsError
from relight.settings import Settings

FAILURES = (
    *(CheckFailedError, SettingsError, SetupError, IdentityError, DomainError),
    *(RPCError, SQLAlchemyError, OSError, TimeoutError),
)
"""What a check raises when something does not work."""

LIMIT = timedelta(seconds=20)
"""For one check."""


class CannotServeError(SetupError):
    """Something that a worker needs does not work; the text has each failed check."""


async def examine(settings: Settings) -> list[CheckResult]:
    """Run all checks, and return their results. It changes nothing.

    Raises:
        NoHomeError: there is no fleet here.
    """
    _require_context(settings)
    return await _results(settings, CHECKS)


async def require_able_to_serve(settings: Settings) -> None:
    """Check all that a worker cannot serve without. It changes nothing.

    Raises:
        NoHomeError: there is no fleet here.
        CannotServeError: something does not work.
    """
    _require_context(settings)
    checks = tuple(check for check in CHECKS if check.is_needed_to_serve)
    results = await _results(settings, checks)
    failed = [each for each in results if each.status is CheckStatus.FAILED]
    if failed:
        texts = dict.fromkeys(f"{each.name}: {each.found}" for each in failed)
        raise CannotServeError("\n".join((*texts, "`relight doctor` says what to do")))


def _require_context(settings: Settings) -> None:
    if settings.has_embedded_store and not is_home(settings.home):
        raise NoHomeError(no_home(settings.context))


async def _results(settings: Settings, checks: tuple[Check, ...]) -> list[CheckResult]:
    async with AsyncExitStack() as opened:
        subject = Subject(settings, opened)
        return [await _result(check, subject) for check in checks]


async def _result(check: Check, subject: Subject) -> CheckResult:
    if any(getattr(subject, need) is None for need in check.needs):
        return CheckResult(
            name=check.name,
            status=CheckStatus.WARNING,
            found="not checked: it needs what has failed above",
        )
    try:
        async with asyncio.timeout(LIMIT.total_seconds()):
            finding = await check.run(subject)
    except FAILURES as error:
        found = f"{error}" or f"no answer within {LIMIT.total_seconds():.0f} s"
        return CheckResult(
            name=check.name, status=CheckStatus.FAILED, found=found, to_do=check.to_do
        )
    status = CheckStatus.WARNING if finding.warning else CheckStatus.OK
    return CheckResult(name=check.name, status=status, found=finding.found, to_do=finding.warning)
