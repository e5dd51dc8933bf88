"""`make histories`: run each kind of operation once, and keep its history for the replay test.

Kept histories are never overwritten: they represent running workflows. After a change of
workflow code, new histories are added under the next number. With names, only these operations
(`python -m tests.histories.record swapped rollout_undone`).
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter

from starter.local.temporal import embedded_temporal
from tests.histories.scenarios import OPERATIONS, ROTATIONS, Begin, Handle, Operation
from tests.workflows.rotations import Rotation, keyed_installation

FOLDER = Path(__file__).parent


async def record(names: Collection[str]) -> None:
    """Record these operations once each."""
    known: dict[str, Begin] = {each.__name__: partial(_of_harness, each) for each in OPERATIONS}
    known |= ROTATIONS
    async with _temporal() as client:
        for name in names or known:
            await _record(client, name, known[name])


async def _of_harness(operation: Operation, rotation: Rotation) -> Handle:
    return await operation(rotation.harness)


@asynccontextmanager
async def _temporal() -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory() as home:
        async with embedded_temporal(Path(home), durable=False) as server:
            yield await Client.connect(server.address, data_converter=pydantic_data_converter)


async def _record(client: Client, name: str, begin: Begin) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images: dict[str, Any] = {"image_folder": Path(folder, "images"), "stagings": {}}
        async with keyed_installation(client, Path(folder), **images) as installation:
            handle = await begin(installation)
            try:
                await handle.result()
            except WorkflowFailureError as error:
                print(f"{name} ended by {error.cause}")  # noqa: T201
            history = await handle.fetch_history()
            # A reconcile run starts other workflows; the next operation uses the same route ids.
            await installation.harness.until_idle()
    number = 1 + max((_number(path) for path in FOLDER.glob(f"{name}-*.json")), default=0)
    kept = json.dumps(_without_traces(json.loads(history.to_json())), indent=1)
    (FOLDER / f"{name}-{number}.json").write_text(kept + "\n")


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _without_traces(part: Any) -> Any:
    """Remove traces of the computer that recorded it. No replay reads them."""
    if isinstance(part, list):
        return [_without_traces(item) for item in part]
    if isinstance(part, dict):
        return {
            name: _without_traces(value) for name, value in part.items() if name != "stackTrace"
        }
    if isinstance(part, str) and re.match(r"[0-9]+@", part):  # A worker: PID@HOST.
        return "recorder"
    return part


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
