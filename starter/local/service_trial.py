"""A service on one machine of a lab of its own: provisioned, swapped, rolled back, each proven.

All is done by the commands that an operator types, in a home folder of its own, which is removed
in the end. `lab` is imported inside functions only.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from relight.domain.base import Message
from relight.engine.errors import SetupError
from relight.inspection.packages import beside
from relight.inspection.service import inspect_deb
from relight.inspection.service_toml import service_toml
from relight.releases.errors import RepositoryError
from starter.local.lab import lab_preflight, lab_state
from starter.local.requirements import require_local
from starter.local.trial_home import StepFailedError, TrialHome

if TYPE_CHECKING:  # the lab may not be installed
    from lab.debian import DebianPackage

ROUTE, TRACK, REGION = "try", "stable", "lab-east"

INTERRUPTED = "it was interrupted"
_REMOVE = "remove them"

Result = TypeVar("Result")


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
        package: that was tried: its name, or the path of its .deb.
        version: its version; empty if it was not found.
        is_proven: whether each step was.
        steps: in their order. After one that was not proven only the last is taken, which removes
            all.
    """

    package: str
    version: str = ""
    is_proven: bool
    steps: tuple[TrialStep, ...] = ()

    @property
    def failed(self) -> TrialStep | None:
        """The first step that was not proven."""
        return next((step for step in self.steps if not step.is_proven), None)


@dataclass(frozen=True)
class OnMachine:
    """What a machine of a trial has to run, after a proof.

    Attributes:
        lab_state: the state folder of its lab.
        machine_id: the lab's id of the machine.
        service_file: of the service.
        package: that was tried.
        versions: what has to be installed, by the names of the packages.
    """

    lab_state: Path
    machine_id: str
    service_file: Path
    package: str
    versions: Mapping[str, str]


Check = Callable[[OnMachine], Awaitable[Sequence[str]]]
"""Looks at the machine itself, and returns why it does not run what it has to."""


@dataclass(frozen=True)
class Tried:
    """What is tried.

    Attributes:
        package: its name in Debian; or a .deb, beside which others may be that it needs.
        service_file: of the service; None for the one that `relight init` writes.
        more: further packages of Debian that the service needs, by name.
        settings: further variables of the fleet.
    """

    package: str | Path
    service_file: Path | None = None
    more: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


async def _nothing(_: OnMachine) -> Sequence[str]:
    return ()


def _quiet(_: str) -> None:
    pass


class ServiceTrial:
    """A trial of a service."""

    def __init__(
        self, tried: Tried, say: Callable[[str], None] = _quiet, check: Check = _nothing
    ) -> None:
        """Do nothing yet.

        Args:
            tried: what is tried.
            say: is called with a line of progress as each step begins and ends.
            check: is called after each proof.
        """
        self._tried = tried
        self._say = say
        self._check = check
        self._steps: list[TrialStep] = []
        self._version = ""

    @property
    def report(self) -> TrialReport:
        """What was found until now."""
        package = self._tried.package
        return TrialReport(
            package=package if isinstance(package, str) else str(package),
            version=self._version,
            is_proven=bool(self._steps) and all(step.is_proven for step in self._steps),
            steps=tuple(self._steps),
        )

    async def run(self) -> TrialReport:
        """Try the service, and remove all that was made for it, also if the task is cancelled.

        Raises:
            SetupError: this computer cannot run a lab, or Temporal.
        """
        require_local(lab=True, temporal=True)
        if missing := lab_preflight():
            raise SetupError("\n  ".join(("this computer cannot run the lab:", *missing)))
        # The name is short: gpg's agent has a socket in a subfolder, of a limited length.
        folder = Path(tempfile.mkdtemp(prefix="relight-try-"))
        try:
            with contextlib.suppress(StepFailedError):  # The steps have it.
                await self._in_folder(folder)
        finally:
            if not any(step.name == _REMOVE and not step.is_proven for step in self._steps):
                shutil.rmtree(folder, ignore_errors=True)
        return self.report

    async def _in_folder(self, folder: Path) -> None:
        package, file = await self._fetch(folder)
        home = TrialHome(folder / "home", file, self._tried.settings)
        try:
            with self._step("start a lab, Temporal and a worker") as told:
                await home.up()
                told.append("all are up")
            await self._on_machine(home, package, folder / "next")
        finally:
            with self._step(_REMOVE) as told:
                await home.down()
                told.append("all are gone")

    async def _fetch(self, folder: Path) -> "tuple[DebianPackage, Path]":
        """Return the package with what it depends on, and its service file."""
        from lab import debian  # noqa: PLC0415
        from lab.errors import LabError  # noqa: PLC0415

        file = self._tried.service_file or folder / "service.toml"
        with self._step("fetch the package and what it depends on") as told:
            try:
                fetched = debian.fetch(self._tried.package, folder / "debs", self._tried.more)
                package = await _to_its_end(fetched)
                if self._tried.service_file is None:
                    own = next(deb.file for deb in package.moving if deb.name == package.name)
                    file.write_text(service_toml(inspect_deb(own, beside(own))))
            except (LabError, RepositoryError) as error:
                raise StepFailedError(str(error)) from None
            self._version = package.version
            told.append(f"{package.name} {package.version}")
        return package, file

    async def _on_machine(self, home: TrialHome, package: "DebianPackage", following: Path) -> None:
        from lab import debian  # noqa: PLC0415

        def machine(suffix: str) -> OnMachine:
            versions = {each.name: each.version + suffix for each in package.moving}
            state, file = lab_state(home.folder), home.service_file
            return OnMachine(state, machine_id, file, package.name, versions)

        with self._step("provision", package.version) as told:
            await _to_its_end(home.publish(package.folder))
            await home.relight("track", "set", TRACK, "--release", package.version)
            [outcome] = await home.answer(
                "route", "provision", ROUTE, "--track", TRACK, "--region", REGION
            )
            machine_id = outcome["provisioned"]["machine"]["provider_id"]
            told.append(await self._proven(outcome["provisioned"], machine("")))
        with self._step("swap to the next version", package.next_version) as told:
            await _to_its_end(_repacked(package, following))
            await _to_its_end(home.publish(following))
            swapped = await home.answer("route", "swap", ROUTE, package.next_version)
            told.append(await self._proven(swapped, machine(debian.NEXT)))
        with self._step("roll back", package.version) as told:
            swapped = await home.answer("route", "rollback", ROUTE)
            told.append(await self._proven(swapped, machine("")))

    async def _proven(self, answer: Mapping[str, Any], machine: OnMachine) -> str:
        """Return what a proof has observed.

        Raises:
            StepFailedError: the machine itself tells something else.
        """
        if found := await self._check(machine):
            raise StepFailedError(f"Relight proved it, and the machine says: {'; '.join(found)}")
        proof = answer["proof"]
        runs = proof["executable"] or "no process"
        return f"{proof['version']} runs, {runs}; {proof['probe']}"

    @contextlib.contextmanager
    def _step(self, name: str, release: str = "") -> Iterator[list[str]]:
        """Record a step; what it puts into the list is what was proven."""
        begun, told = time.monotonic(), list[str]()
        what, failure = f"{name} {release}".rstrip(), INTERRUPTED
        self._say(f"{what} ...")
        try:
            yield told
            failure = ""
        except StepFailedError as error:
            failure = str(error)
            raise
        finally:
            step = TrialStep(
                name=name,
                release=release,
                is_proven=not failure,
                text=failure or "; ".join(told),
                seconds=round(time.monotonic() - begun, 1),
            )
            self._steps.append(step)
            proven = "NOT PROVEN" if failure else "proven"
            self._say(f"{what}: {proven} after {step.seconds:.0f} s")


async def _repacked(package: "DebianPackage", folder: Path) -> None:
    """Build the next version of a package into a new folder.

    Raises:
        StepFailedError: it cannot be built.
    """
    from lab import debian  # noqa: PLC0415
    from lab.errors import LabError  # noqa: PLC0415

    try:
        await asyncio.to_thread(debian.repack, package, folder)
    except LabError as error:
        raise StepFailedError(str(error)) from None


async def _to_its_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Wait for work in threads. If this task is cancelled, wait for its end nevertheless.

    A thread cannot be interrupted, and would write into a folder that is removed.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
