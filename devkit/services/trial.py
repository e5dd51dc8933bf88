"""The trial of `relight service try`, and what the machine itself says after each proof."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from devkit.installation import ScriptError
from devkit.services.on_host import problems, read_host
from relight.service_file import read_service_file
from starter.local.service_trial import OnMachine, ServiceTrial, TrialReport, Tried

LIMIT = timedelta(minutes=6)
"""For one trial: the downloads, the start of a lab, the boot, and two changes."""

SETTINGS = {"RELIGHT_STABILITY_WINDOW": "PT2S"}


async def run_trial(name: str, say: Callable[[str], None] = lambda _: None) -> TrialReport:
    """Try a package of Debian, and clean up. Every end is a report.

    Args:
        name: of the package.
        say: is called with each line of progress.
    """
    trial = ServiceTrial(Tried(package=name, settings=SETTINGS), say, check)
    try:
        async with asyncio.timeout(LIMIT.total_seconds()):
            await trial.run()
    except TimeoutError:
        say(f"no end after {LIMIT.total_seconds():.0f} s")
    return trial.report


async def check(machine: OnMachine) -> Sequence[str]:
    """Return why a machine does not run what it has to, as it says itself."""
    service = read_service_file(machine.service_file.parent, machine.service_file)
    units = (service["unit"], *service.get("more_units", ()))
    try:
        state = await read_host(machine.lab_state, machine.machine_id, machine.package, units)
    except ScriptError as error:
        return [str(error)]
    return problems(state, machine.versions)
