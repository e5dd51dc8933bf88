"""What takes long to build is built once and kept, outside every lab's state."""

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
    """Return where built things are kept: `RELIGHT_LAB_CACHE`, else a folder in /var/cache."""
    return Path(os.environ.get("RELIGHT_LAB_CACHE", _DEFAULT)).absolute()


def recipe_digest(module: ModuleType, *more: str) -> str:
    """Return a digest of a recipe: the module that builds, and what else decides the result."""
    recipe = "\0".join((inspect.getsource(module), *more))
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


async def built_once(name: str, build: Callable[[Path], Awaitable[None]]) -> Path:
    """Return the folder of this name in the cache, built first if it is not there.

    Two labs that want it at once build it once; one that was interrupted leaves nothing that
    looks finished.
    """
    target = cache_folder() / name
    if target.is_dir():
        return target
    async with locked(target.with_name(f".{target.name}.lock")):
        if not target.is_dir():
            building = _begin(target)
            try:
                await build(building / "built")
                (building / "built").rename(target)
            finally:
                # Threads of a build that was cancelled may still write: the next one cleans up.
                shutil.rmtree(building, ignore_errors=True)
    return target


def _begin(target: Path) -> Path:
    for unfinished in target.parent.glob(f".{target.name}.build-*"):
        shutil.rmtree(unfinished)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.build-", dir=target.parent))
    building.chmod(0o755)  # apt's own user downloads into it
    (building / "built").mkdir()
    return building
