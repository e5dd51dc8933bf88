"""The result of a machine's first boot, from cloud-init and Relight's own steps in it.

`cloud-init status --wait` has no timeout and reports errors only as a number. The files that
cloud-init and the steps write show which step failed, and its output.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.apt import diagnose
from relight.hosts.errors import FirstBootFailedError, UnreadableAnswerError
from relight.hosts.observation import journal
from relight.hosts.shell import Section, Shell

RECORD_FOLDER = "/var/lib/relight/first-boot"
"""Where the steps write lines `NAME CODE` to `steps`, and their output to `NAME.log`."""

INSTALL_STEP = "install"
SERVICE_STEP = "service"
OTHER_STEP = "cloud-init"

STEPS = (INSTALL_STEP, SERVICE_STEP)
"""Relight's steps, in order. If one is missing at the end of the boot, it was interrupted."""

COMMAND_TIMEOUT = timedelta(seconds=30)

_BOOT_ID, _RESULT, _STEPS = "boot_id", "result", "steps"
_QUESTIONS = {
    _BOOT_ID: ["cat", "/proc/sys/kernel/random/boot_id"],
    # cloud-init writes this file last, and atomically.
    _RESULT: ["cat", "/run/cloud-init/result.json"],
    _STEPS: ["cat", f"{RECORD_FOLDER}/steps"],
}


@dataclass(frozen=True)
class FirstBoot:
    """The progress of a first boot.

    Attributes:
        boot_id: the kernel's id of this boot.
        finished: whether cloud-init has ended.
        errors: the errors that cloud-init reports.
        steps: the exit code of each of Relight's steps that ended, in order.
    """

    boot_id: str
    finished: bool
    errors: tuple[str, ...]
    steps: Mapping[str, int]

    @property
    def failed_step(self) -> str | None:
        """The step that failed or was interrupted; `cloud-init` if it was none of Relight's.

        cloud-init does not repeat a step that a reboot interrupted, and reports no error for it.
        """
        for name, code in self.steps.items():
            if code != 0:
                return name
        if self.errors:
            return OTHER_STEP
        missing = [name for name in STEPS if name not in self.steps]
        return missing[0] if self.finished and missing else None


async def observe(shell: Shell) -> FirstBoot:
    """Return the progress of the first boot."""
    return parse(await shell.ask(_QUESTIONS, timeout=COMMAND_TIMEOUT))


def parse(answers: Mapping[str, Section]) -> FirstBoot:
    """Parse the answers to the questions of `observe`. A file may not exist yet.

    Raises:
        UnreadableAnswerError: a file is malformed.
    """
    result, steps = answers[_RESULT], answers[_STEPS]
    return FirstBoot(
        boot_id=answers[_BOOT_ID].text.strip(),
        finished=result.exit_code == 0,
        errors=_errors(result.text) if result.exit_code == 0 else (),
        steps=_steps(steps.text) if steps.exit_code == 0 else {},
    )


async def failure(shell: Shell, boot: FirstBoot, service: Service) -> FirstBootFailedError:
    """Return the error of a failed first boot, with the output of the failed step.

    Args:
        shell: on the host.
        boot: as returned by `observe`.
        service: the service that the boot installed and started.
    """
    step = boot.failed_step or OTHER_STEP
    completed = await shell.run(
        host_program.step(step), timeout=COMMAND_TIMEOUT, check=False, sudo=True
    )
    output = completed.stdout
    text, fault_class = _reason(boot, step, output, service)
    return FirstBootFailedError(
        step,
        text,
        destination=shell.destination,
        exit_code=boot.steps.get(step),
        stderr=output,
        journal=await journal(shell) if step == SERVICE_STEP else (),
        fault_class=fault_class,
    )


def _reason(boot: FirstBoot, step: str, output: str, service: Service) -> tuple[str, FaultClass]:
    """Return the reason of a failure in one line, and its fault class."""
    if step == OTHER_STEP:
        return "; ".join(boot.errors) or "cloud-init failed", FaultClass.HOST
    code = boot.steps.get(step)
    if code is None:
        return (
            "it was interrupted, and cloud-init does not repeat it; did the host reboot?",
            FaultClass.HOST,
        )
    if step == INSTALL_STEP:
        diagnosis = diagnose(output, service.package)
        fault_class = RULES[diagnosis.kind].fault_class
        return f"exit code {code}: {diagnosis.text}", fault_class
    # relight-host prints its reason last, after systemctl's output. The unit's journal has more.
    last_line = output.strip().rpartition("\n")[2].removeprefix("relight: ")
    text = last_line or f"{service.unit} did not start"
    return f"exit code {code}: {text}", FaultClass.RELEASE


def _errors(text: str) -> tuple[str, ...]:
    try:
        errors = json.loads(text)["v1"]["errors"]
        return tuple(str(error) for error in errors)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableAnswerError(
            f"cloud-init's result file is malformed: {error}",
            attempted="read the result of the first boot",
            stderr=text,
        ) from error


def _steps(text: str) -> dict[str, int]:
    try:
        return {name: int(code) for name, code in (line.split() for line in text.splitlines())}
    except ValueError as error:
        raise UnreadableAnswerError(
            f"a step is not `NAME CODE`: {error}",
            attempted="read the result of the first boot",
            stderr=text,
        ) from error
