"""A service on one machine of a lab of its own: provisioned, swapped, rolled back, each proven.

All is done by the commands that an operator types, in a home folder of its own, which is removed
in the end. `lab` is imported inside functions only.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from relight.domain.base import Message
from relight.domain.text import visible_tail
from starter.local.home import make_private_folder, write_env
from starter.local.lab import addresses_of, lab_state
from starter.local.requirements import require_local

if TYPE_CHECKING:  # the lab may not be installed
    from lab.debian import DebianPackage

ROUTE, TRACK, REGION = "try", "stable", "lab-east"

COMMAND_WITHIN = timedelta(minutes=15)
"""For one command: the first start of a lab builds its base image."""

_MAX_TEXT_BYTES = 2000


class TrialStep(Message):
    """A step of a trial.

    Attributes:
        name: of the step.
        release: that the machine had to run after it; empty if none.
        is_proven: whether it ended as it has to.
        text: what was proven, or why it was not.
        seconds: how long it took.
    """

    name: str
    release: str = ""
    is_proven: bool
    text: str
    seconds: float


class TrialReport(Message):
    """What a trial found.

    Attributes:
        package: that was tried.
        version: its version; empty if it was not found.
        steps: in their order. After one that was not proven only the last is taken, which removes
            all.
    """

    package: str
    version: str = ""
    steps: tuple[TrialStep, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether every step was."""
        return all(step.is_proven for step in self.steps)


class StepFailedError(Exception):
    """A step did not end as it has to; the text says why."""


class ServiceTrial:
    """A trial of a service."""

    def __init__(
        self, package: str | Path, service_file: Path, report: Callable[[TrialStep], None]
    ) -> None:
        """Do nothing yet.

        Args:
            package: its name, or a .deb, beside which others may be that it needs.
            service_file: of the service.
            report: is called with each step at its end.
        """
        self._package = package
        self._service_file = service_file
        self._report = report
        self._steps: list[TrialStep] = []
        self._version = ""

    def run(self) -> TrialReport:
        """Try the service, and remove all that was made for it. Blocks.

        Raises:
            SetupError: this computer cannot run a lab, or Temporal.
        """
        require_local(lab=True, temporal=True)
        with TemporaryDirectory(prefix="relight-try-") as folder:
            home = Path(folder, "home")
            make_private_folder(home)
            write_env(home, {"RELIGHT_SERVICE_FILE": str(self._service_file)})
            with contextlib.suppress(StepFailedError):  # The steps have it.
                try:
                    with self._step("start a lab, Temporal and a worker") as told:
                        _relight(home, "up", "--detach", "--no-ui", "--i-understand")
                        told.append("all are up")
                    self._on_machine(home, Path(folder))
                finally:
                    with self._step("remove them") as told:
                        _relight(home, "down")
                        told.append("all are gone")
        name = self._package if isinstance(self._package, str) else self._package.name
        return TrialReport(package=name, version=self._version, steps=tuple(self._steps))

    def _on_machine(self, home: Path, folder: Path) -> None:
        with self._step("fetch the package and what it depends on") as told:
            package = _fetched(self._package, folder / "debs")
            _publish(home, package.folder)
            self._version = package.version
            told.append(f"{package.name} {package.version}")
        with self._step("provision", package.version) as told:
            _relight(home, "track", "set", TRACK, "--release", package.version)
            words = ("provision", ROUTE, "--track", TRACK, "--region", REGION, "--wait")
            [outcome] = _answer(_relight(home, "route", *words, "--json"))
            told.append(_proof(outcome["provisioned"]))
        with self._step("swap to the next version", package.next_version) as told:
            _repacked(package, folder / "next")
            _publish(home, folder / "next")
            told.append(_proof(_answer(_relight(home, *_swap(package.next_version)))))
        with self._step("roll back", package.version) as told:
            told.append(_proof(_answer(_relight(home, "route", "rollback", ROUTE, "--json"))))

    @contextlib.contextmanager
    def _step(self, name: str, release: str = "") -> Iterator[list[str]]:
        """Record a step; what it puts into the list is what was proven."""
        begun, told = time.monotonic(), list[str]()
        failure = ""
        try:
            yield told
        except StepFailedError as error:
            failure = str(error)
            raise
        finally:
            step = TrialStep(
                name=name,
                release=release,
                is_proven=bool(told) and not failure,
                text=failure or "; ".join(told) or "it was interrupted",
                seconds=round(time.monotonic() - begun, 1),
            )
            self._steps.append(step)
            self._report(step)


def _swap(version: str) -> tuple[str, ...]:
    return ("route", "swap", ROUTE, version, "--json")


def _relight(home: Path, *words: str) -> str:
    """Run a command in the home folder of the trial, and return its output.

    Raises:
        StepFailedError: it failed.
    """
    try:
        ended = subprocess.run(  # noqa: S603 - this interpreter, no shell
            [sys.executable, "-m", "starter.cli", *words],
            cwd=home,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_WITHIN.total_seconds(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StepFailedError(f"`{words[0]}` does not end") from None
    if ended.returncode != 0:
        raise StepFailedError(_failure(ended.stderr.decode(errors="replace")))
    return ended.stdout.decode(errors="replace")


def _environment(home: Path) -> Mapping[str, str]:
    """Return the environment of this process without its context, and with the trial's home.

    Settings of the service are kept: they are what is tried.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RELIGHT_", "TEMPORAL_")) or name.startswith("RELIGHT_SERVICE__")
    }
    return {**kept, "RELIGHT_HOME": str(home)}


def _failure(output: str) -> str:
    """Return why a command failed: the message of its answer, else the end of what it wrote."""
    lines = output.strip().splitlines()
    try:
        text = json.loads(lines[-1])["message"]
    except (ValueError, KeyError, TypeError, IndexError):
        text = "\n".join(lines) or "it wrote nothing"
    return visible_tail(str(text), _MAX_TEXT_BYTES)


def _answer(output: str) -> Any:
    return json.loads(output)


def _proof(answer: Mapping[str, Any]) -> str:
    """Return what a proof has observed."""
    proof = answer["proof"]
    runs = proof["executable"] or "no process"
    return f"{proof['version']} runs, {runs}; {proof['probe']}"


def _fetched(package: str | Path, folder: Path) -> "DebianPackage":
    from lab import debian  # noqa: PLC0415
    from lab.errors import LabError  # noqa: PLC0415

    try:
        return asyncio.run(debian.fetch(package, folder))
    except LabError as error:
        raise StepFailedError(str(error)) from None


def _repacked(package: "DebianPackage", folder: Path) -> None:
    from lab import debian  # noqa: PLC0415
    from lab.errors import LabError  # noqa: PLC0415

    try:
        debian.repack(package, folder)
    except LabError as error:
        raise StepFailedError(str(error)) from None


def _publish(home: Path, debs: Path) -> None:
    """Publish packages in the repository of the trial's lab."""
    from lab import image, repository  # noqa: PLC0415
    from lab.errors import LabError  # noqa: PLC0415

    addresses = addresses_of(home)
    if addresses is None:
        raise StepFailedError("the lab of the trial has ended")
    state = lab_state(home)
    key = repository.SigningKey(state / "gnupg", addresses.signing_key)
    try:
        repository.publish(state / "repository", debs, key, image.architecture())
    except LabError as error:
        raise StepFailedError(str(error)) from None
