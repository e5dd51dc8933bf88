"""The files that one hot swap passes from the wave to the host and back."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from devkit.bench.scale.environment import Shape, simulated_environment
from devkit.bench.scale.rollout import measure
from devkit.house.tracer import OUTPUT_VARIABLE, ROOT


def files_of_hot_swap() -> list[str]:
    """Return the files, relative to the checkout, of a hot swap of one simulated host over SSH.

    Raises:
        SetupError: the environment of the scale benchmark cannot be set up here.
    """
    with TemporaryDirectory(prefix="relight-house-") as folder:
        output = Path(folder) / "files"
        start = "from devkit.house.tracer import start\nstart()\n"
        (Path(folder) / "sitecustomize.py").write_text(start)
        paths = os.pathsep.join((folder, ROOT))
        with patch.dict(os.environ, {OUTPUT_VARIABLE: str(output), "PYTHONPATH": paths}):
            asyncio.run(_swap())
        return sorted(set(output.read_text().split()))


async def _swap() -> None:
    async with simulated_environment(Shape(routes=1)) as environment:
        await measure(environment, 1)
