"""The lab of a home folder: a small cloud on this computer, as a child process.

`lab` is imported inside functions only: `relight` has to work where the lab is not installed.
"""

import contextlib
import hashlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from relight.engine.errors import SetupError
from starter.local.children import Child, running
from starter.local.requirements import require_local

# The first start builds the base image, which downloads a Debian.
READY_WITHIN = timedelta(minutes=10)
STOP_WITHIN = timedelta(minutes=1)


class LabAddresses(BaseModel):
    """The file `lab.json`, which a running lab writes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    url: str
    token_file: Path
    repository_url: str
    signing_key: Path


@dataclass(frozen=True)
class LocalLab:
    """A running lab."""

    addresses: LabAddresses
    child: Child


def lab_name(home: Path) -> str:
    """Return the name of a home folder's lab, which is unique on this computer."""
    return hashlib.sha256(str(home).encode()).hexdigest()[:6]


def lab_state(home: Path) -> Path:
    """Return the state folder of a home folder's lab."""
    return home / "lab"


@contextlib.asynccontextmanager
async def local_lab(home: Path) -> AsyncIterator[LocalLab]:
    """Run the home folder's lab until the block ends.

    Raises:
        SetupError: this computer cannot run a lab; the text says what is missing.
        ChildFailedError: it ended by itself or did not become ready.
    """
    require_local(lab=True, temporal=False)
    if missing := lab_preflight():
        msg = "this computer cannot run the lab:\n" + "\n".join(f"  {what}" for what in missing)
        raise SetupError(msg)
    state = lab_state(home)
    argv = [sys.executable, "-m", "lab", "serve", "--name", lab_name(home), "--state", str(state)]
    log = home / "logs" / "lab.log"
    async with running("the lab", argv, log=log, stop_within=STOP_WITHIN) as child:

        async def ready() -> bool:
            # A lab that was killed leaves its file until the next one has swept up.
            addresses = addresses_of(home)
            return addresses is not None and addresses.pid == child.pid

        await child.wait_until_ready(ready, READY_WITHIN)
        addresses = addresses_of(home)
        assert addresses is not None
        yield LocalLab(addresses, child)


def addresses_of(home: Path) -> LabAddresses | None:
    """Return where the home folder's lab answers, None while it does not run."""
    try:
        return LabAddresses.model_validate_json((lab_state(home) / "lab.json").read_text())
    except (FileNotFoundError, ValidationError):
        return None


def lab_preflight() -> list[str]:
    """Return what this computer lacks to run a lab, one line each."""
    from lab import lifecycle  # noqa: PLC0415

    return list(lifecycle.preflight())


def lab_leftovers(home: Path) -> list[str]:
    """Return what exists of the home folder's lab on this computer, one line each."""
    from lab import lifecycle  # noqa: PLC0415

    return lifecycle.leftovers(lab_name(home), lab_state(home))


def sweep_lab(home: Path) -> list[str]:
    """Remove what a killed lab of the home folder left on this computer; return what it was."""
    if not lab_state(home).exists():
        return []
    require_local(lab=True, temporal=False)
    from lab import lifecycle  # noqa: PLC0415

    return lifecycle.sweep(lab_name(home), lab_state(home))
