"""The lab of a home folder: a small cloud on this computer, as a child process."""

import contextlib
import hashlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab import lifecycle
from relight.engine.errors import StarterError
from starter.local.children import Child, running

# The first start builds the base image, which downloads a Debian.
READY_WITHIN = timedelta(minutes=10)
STOP_WITHIN = timedelta(minutes=1)


class LabAddresses(BaseModel):
    """What a lab that answers says of itself in `lab.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    url: str
    token_file: Path
    repository_url: str
    signing_key: Path


@dataclass(frozen=True)
class LocalLab:
    """A lab that answers."""

    addresses: LabAddresses
    child: Child


def lab_name(home: Path) -> str:
    """Return the name of a home folder's lab: two homes have two labs."""
    return hashlib.sha256(str(home).encode()).hexdigest()[:6]


def lab_state(home: Path) -> Path:
    """Return where the lab of a home folder keeps its state."""
    return home / "lab"


@contextlib.asynccontextmanager
async def local_lab(home: Path) -> AsyncIterator[LocalLab]:
    """Run the home folder's lab until the block ends.

    Raises:
        StarterError: this computer cannot carry a lab; the text says what is missing.
        ChildFailedError: it ended by itself or does not get ready.
    """
    if missing := lifecycle.preflight():
        msg = "this computer cannot carry the lab:\n" + "\n".join(f"  {what}" for what in missing)
        raise StarterError(msg)
    state = lab_state(home)
    argv = [sys.executable, "-m", "lab", "serve", "--name", lab_name(home), "--state", str(state)]
    log = home / "logs" / "lab.log"
    async with running("the lab", argv, log=log, stop_within=STOP_WITHIN) as child:

        async def ready() -> bool:
            # One that was killed has left its word, until this one has swept up after it.
            said = addresses_of(home)
            return said is not None and said.pid == child.pid

        await child.until(ready, READY_WITHIN)
        addresses = addresses_of(home)
        assert addresses is not None
        yield LocalLab(addresses, child)


def addresses_of(home: Path) -> LabAddresses | None:
    """Return what the home folder's lab says of itself, None while it does not run."""
    try:
        return LabAddresses.model_validate_json((lab_state(home) / "lab.json").read_text())
    except (FileNotFoundError, ValidationError):
        return None


def sweep_lab(home: Path) -> list[str]:
    """Remove what a killed lab of the home folder left on this computer; say what that was."""
    return lifecycle.sweep(lab_name(home), lab_state(home)) if lab_state(home).exists() else []
