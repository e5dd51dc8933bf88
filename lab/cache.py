"""A cache of what is slow to build: the base image and the packages. All labs share it."""

import hashlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

from lab.locks import locked

_DEFAULT = "/var/cache/relight-lab"


def cache_folder() -> Path:
    """Return the folder of the cache: `RELIGHT_LAB_CACHE`, by default a folder in /var/cache."""
    return Path(os.environ.get("RELIGHT_LAB_CACHE", _DEFAULT)).absolute()


def recipe_digest(module: ModuleType, *more: str) -> str:
    """Return a digest of a module's source and of the other inputs that determine its result."""
    recipe = "\0".join((inspect.getsource(module), *more))
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


async def built_once(name: str, build: Callable[[Path], Awaitable[None]]) -> Path:
    """Return the folder with this name in the cache, after building it if it is missing.

    Concurrent labs build it once. An interrupted build leaves nothing that looks complete.

    Args:
        name: the name, which must contain a digest of everything that determines the result.
        build: called with an empty folder to fill.
    """
    target = cache_folder() / name
    if target.is_dir():
        return target
    async with locked(target.with_name(f".{target.name}.lock")):
        if not target.is_dir():
            building = _build_folder(target)
            try:
                await build(building / "built")
                (building / "built").rename(target)
            finally:
                # Threads of a cancelled build may still write; the next build removes the rest.
                shutil.rmtree(building, ignore_errors=True)
    return target


def _build_folder(target: Path) -> Path:
    for unfinished in target.parent.glob(f".{target.name}.build-*"):
        shutil.rmtree(unfinished)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.build-", dir=target.parent))
    building.chmod(0o755)  # the user of apt's downloads needs access
    (building / "built").mkdir()
    return building
