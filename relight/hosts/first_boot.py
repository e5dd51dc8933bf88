"""The result of a machine's first boot, from cloud-init and Relight's own steps in it.

`cloud-init status --wait` has no timeout and reports errors only as a number. The files that
cloud-init and the steps write show which step failed, and its output.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, ValidationError

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES
from relight.domain.service import Service
from relight.domain.text import head, visible
from relight.hosts import host_program
from relight.hosts.apt import diagnose
from relight.hosts.errors import FirstBootFailedError, UnreadableAnswerError, on_host
from relight.hosts.questions import Section
from relight.hosts.shell import Shell

RECORD_FOLDER = "/var/lib/relight/first-boot"
"""Where the steps write lines `NAME CODE` to `steps`, and their output to `NAME.log`."""

INSTALL_STEP = "install"
OTHER_STEP = "cloud-init"

STEPS = (INSTALL_STEP,)
"""Relight's steps, in order. If one is missing at the end of the boot, it was interrupted."""

_KNOWN_STEPS = {*STEPS, "service"}
"""With those of machines that Relight of before had created."""

COMMAND_TIMEOUT = timedelta(seconds=30)

MAX_ERRORS, MAX_ERROR_BYTES = 10, 1000
"""How many of cloud-init's errors are kept, and how much of each."""

_STEP = re.compile(r"([a-z][a-z-]{0,31}) (-?[0-9]{1,5})")
_BOOT_ID_FORMAT = re.compile(r"[0-9a-f-]{1,64}")

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
    answers = await shell.ask(_QUESTIONS, timeout=COMMAND_TIMEOUT)
    with on_host(shell.destination):
        return parse(answers)


def parse(answers: Mapping[str, Section]) -> FirstBoot:
    """Parse the answers to the questions of `observe`. A file may not exist yet.

    Raises:
        UnreadableAnswerError: a file is malformed.
    """
    result, steps = answers[_RESULT], answers[_STEPS]
    boot_id = answers[_BOOT_ID].text.strip()
    if not _BOOT_ID_FORMAT.fullmatch(boot_id):
        raise _malformed(f"not a boot id: {head(boot_id, 64)}", boot_id)
    return FirstBoot(
        boot_id=boot_id,
        finished=result.exit_code == 0,
        errors=_errors(result.text) if result.exit_code == 0 else (),
        steps=_steps(steps.text) if steps.exit_code == 0 else {},
    )


async def failure(shell: Shell, boot: FirstBoot, service: Service) -> FirstBootFailedError:
    """Return the error of a failed first boot, with the output of the failed step.

    Args:
        shell: on the host.
        boot: as returned by `observe`.
        service: the service whose package the boot installed.
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
    diagnosis = diagnose(output, service.package)
    return f"exit code {code}: {diagnosis.text}", RULES[diagnosis.kind].fault_class


class _CloudInit(BaseModel):
    errors: tuple[str, ...]


class _Result(BaseModel):
    v1: _CloudInit


def _errors(text: str) -> tuple[str, ...]:
    try:
        errors = _Result.model_validate_json(text).v1.errors
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise _malformed(f"cloud-init's result file is malformed: {reason}", text) from error
    return tuple(head(visible(error), MAX_ERROR_BYTES) for error in errors[:MAX_ERRORS])


def _steps(text: str) -> dict[str, int]:
    steps: dict[str, int] = {}
    for line in text.splitlines():
        found = _STEP.fullmatch(line.strip())
        if found is None or found[1] not in _KNOWN_STEPS:
            raise _malformed(f"a step is not `NAME CODE`: {head(line, 64)}", text)
        steps[found[1]] = int(found[2])
    return steps


def _malformed(reason: str, text: str) -> UnreadableAnswerError:
    return UnreadableAnswerError(reason, attempted="read the result of the first boot", stderr=text)
