"""A machine's first boot: what cloud-init and our steps in it say of how it went.

cloud-init's own command `status --wait` has no limit of its own and tells an error as a number;
its files, and those that our steps leave, say which step failed and in what words.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES
from relight.hosts import host_program
from relight.hosts.apt import diagnose
from relight.hosts.commands import Section
from relight.hosts.errors import FirstBootFailedError, UnreadableAnswerError
from relight.hosts.observation import journal
from relight.hosts.shell import Shell

RECORD_FOLDER = "/var/lib/relight/first-boot"
"""Where our steps leave `NAME CODE` lines in `steps`, and what each said in `NAME.log`."""

INSTALL_STEP = "install"
SERVICE_STEP = "service"
OTHER_STEP = "cloud-init"

STEPS = (INSTALL_STEP, SERVICE_STEP)
"""Our steps, in order. A boot that has ended without one of them was cut short in it."""

COMMAND_TIMEOUT = timedelta(seconds=30)

_BOOT_ID, _RESULT, _STEPS = "boot_id", "result", "steps"
_QUESTIONS = {
    _BOOT_ID: ["cat", "/proc/sys/kernel/random/boot_id"],
    # cloud-init writes this file last of all, by rename.
    _RESULT: ["cat", "/run/cloud-init/result.json"],
    _STEPS: ["cat", f"{RECORD_FOLDER}/steps"],
}


@dataclass(frozen=True)
class FirstBoot:
    """How far a first boot has come.

    Attributes:
        boot_id: the kernel's id of this boot.
        finished: whether cloud-init has ended.
        errors: what cloud-init says went wrong.
        steps: our steps that ended, with their exit codes, in order.
    """

    boot_id: str
    finished: bool
    errors: tuple[str, ...]
    steps: Mapping[str, int]

    @property
    def failed_step(self) -> str | None:
        """The step that failed or was cut short; `cloud-init` where it was none of ours.

        cloud-init does not run a step again that a reboot cut short, and calls that no error.
        """
        for name, code in self.steps.items():
            if code != 0:
                return name
        if self.errors:
            return OTHER_STEP
        missing = [name for name in STEPS if name not in self.steps]
        return missing[0] if self.finished and missing else None


async def look(shell: Shell) -> FirstBoot:
    """Return how far the first boot has come."""
    return parse(await shell.ask(_QUESTIONS, timeout=COMMAND_TIMEOUT))


def parse(answers: Mapping[str, Section]) -> FirstBoot:
    """Read the answers to `look`'s questions. A file that is not there yet is an answer too.

    Raises:
        UnreadableAnswerError: a file that is there is not what it should be.
    """
    result, steps = answers[_RESULT], answers[_STEPS]
    return FirstBoot(
        boot_id=answers[_BOOT_ID].text.strip(),
        finished=result.exit_code == 0,
        errors=_errors(result.text) if result.exit_code == 0 else (),
        steps=_steps(steps.text) if steps.exit_code == 0 else {},
    )


async def failure(shell: Shell, boot: FirstBoot, package: str, unit: str) -> FirstBootFailedError:
    """Return the error that a failed first boot amounts to, with the failed step's own words.

    Args:
        shell: on the host.
        boot: as `look` saw it.
        package: the package that the boot installed.
        unit: the unit that it started.
    """
    step = boot.failed_step or OTHER_STEP
    code = boot.steps.get(step)
    told = await shell.run(host_program.step(step), timeout=COMMAND_TIMEOUT, check=False, sudo=True)
    said = told.stdout
    text, fault_class = _judged(boot, step, said, package, unit)
    return FirstBootFailedError(
        step,
        text,
        destination=shell.destination,
        exit_code=code,
        stderr=said,
        journal=await journal(shell) if step == SERVICE_STEP else (),
        fault_class=fault_class,
    )


def _judged(
    boot: FirstBoot, step: str, said: str, package: str, unit: str
) -> tuple[str, FaultClass]:
    """Say in one line what went wrong, and at whose door it lies."""
    if step == OTHER_STEP:
        return "; ".join(boot.errors) or "cloud-init failed", FaultClass.HOST
    code = boot.steps.get(step)
    if code is None:
        return (
            "it was cut short, and cloud-init does not repeat it; did it reboot?",
            FaultClass.HOST,
        )
    if step == INSTALL_STEP:
        diagnosis = diagnose(said, package)
        fault_class = RULES[diagnosis.kind].fault_class
        return f"exit code {code}: {diagnosis.text}", fault_class
    # systemctl's own words come before ours; why the start failed is in the unit's journal.
    words = said.strip().rpartition("\n")[2].removeprefix("relight: ") or f"{unit} did not start"
    return f"exit code {code}: {words}", FaultClass.RELEASE


def _errors(text: str) -> tuple[str, ...]:
    try:
        errors = json.loads(text)["v1"]["errors"]
        return tuple(str(error) for error in errors)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableAnswerError(
            f"cloud-init's result is not what it should be: {error}",
            attempted="read how the first boot went",
            stderr=text,
        ) from error


def _steps(text: str) -> dict[str, int]:
    try:
        return {name: int(code) for name, code in (line.split() for line in text.splitlines())}
    except ValueError as error:
        raise UnreadableAnswerError(
            f"a step is not `NAME CODE`: {error}",
            attempted="read how the first boot went",
            stderr=text,
        ) from error
