"""The home folder of a trial: a fleet of one lab machine, and the commands that are typed there."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from relight.domain.text import visible_tail
from starter.local.home import make_private_folder
from starter.local.lab import addresses_of, lab_state

COMMAND_WITHIN = timedelta(minutes=15)
"""For one command: the first start of a lab builds its base image."""

STOP_WITHIN = timedelta(minutes=2)

_MAX_TEXT_BYTES = 2000
_MAX_LOG_LINES = 10
_KEPT = ("RELIGHT_LAB_CACHE",)


class StepFailedError(Exception):
    """A step did not end as it has to; the text says why."""


@dataclass(frozen=True)
class TrialHome:
    """A home folder that nobody else uses.

    Attributes:
        folder: the home folder, which need not exist.
        service_file: of the service.
        settings: variables of its commands.
    """

    folder: Path
    service_file: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    async def up(self) -> None:
        """Start a lab, a Temporal server and a worker.

        Raises:
            StepFailedError: one did not start; nothing is left running.
        """
        make_private_folder(self.folder)
        await self.relight("up", "--detach", "--no-ui", "--i-understand")

    async def down(self) -> None:
        """Stop all that was started, also what is half started, and remove the lab's machines.

        Raises:
            StepFailedError: something is left; the text says how to remove it.
        """
        try:
            await self.relight("down")
        except StepFailedError as error:
            raise StepFailedError(
                f"{error}. Type `RELIGHT_HOME={self.folder} relight down` as root, and remove that"
                " folder"
            ) from None

    async def answer(self, *words: str) -> Any:
        """Type a command with `--json`, and return its answer.

        Raises:
            StepFailedError: it failed.
        """
        return json.loads(await self.relight(*words, "--json"))

    async def relight(self, *words: str) -> str:
        """Type a command, and return its standard output.

        A command that does not end is ended, and so is one whose task is cancelled.

        Raises:
            StepFailedError: it failed, or does not end.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "starter.cli", *words),
            cwd=self.folder,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process only, which cleans up.
        )
        try:
            async with asyncio.timeout(COMMAND_WITHIN.total_seconds()):
                out, err = await process.communicate()
        except TimeoutError:
            raise StepFailedError(f"`relight {' '.join(words)}` does not end") from None
        finally:
            await _end(process)
        if process.returncode != 0:
            raise StepFailedError(_failure(out.decode(), err.decode()))
        return out.decode()

    async def publish(self, debs: Path) -> None:
        """Publish all packages of a folder in the repository of the lab.

        Raises:
            StepFailedError: the lab has ended, or the packages cannot be published.
        """
        from lab import image, repository  # noqa: PLC0415
        from lab.errors import LabError  # noqa: PLC0415

        addresses = addresses_of(self.folder)
        if addresses is None:
            raise StepFailedError("the lab of the trial has ended")
        key = repository.SigningKey(lab_state(self.folder) / "gnupg", addresses.signing_key)
        target = lab_state(self.folder) / "repository"
        try:
            await asyncio.to_thread(repository.publish, target, debs, key, image.architecture())
        except LabError as error:
            raise StepFailedError(str(error)) from None

    def _environment(self) -> Mapping[str, str]:
        """Return the environment of this process without its context and its settings."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RELIGHT_", "TEMPORAL_")) or name in _KEPT
        }
        own = {"RELIGHT_HOME": str(self.folder), "RELIGHT_SERVICE_FILE": str(self.service_file)}
        return {**kept, **self.settings, **own}


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command as Ctrl-C does, so that it undoes what it has begun."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(STOP_WITHIN.total_seconds()):
            await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _failure(out: str, err: str) -> str:
    """Return why a command failed: the fault or message of its JSON, else its output."""
    for text, find in ((out, _fault_of), (err.strip().rpartition("\n")[2], _message_of)):
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            return visible_tail(find(json.loads(text)), _MAX_TEXT_BYTES)
    return visible_tail(err.strip() or "it wrote nothing", _MAX_TEXT_BYTES)


def _fault_of(answer: Any) -> str:
    fault = answer[0]["fault"]
    return "\n".join((fault["summary"], *fault["journal_tail"][-_MAX_LOG_LINES:]))


def _message_of(error: Any) -> str:
    return str(error["message"])
