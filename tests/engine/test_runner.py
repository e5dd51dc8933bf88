"""How workflows run: what the sandbox refuses keeps a worker from starting."""

import importlib
import pkgutil
import sys
from types import ModuleType

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

import workflows
from relight.engine.runner import workflow_runner
from tests.engine import sandboxed
from tests.engine.sandboxed import imports_a_client


async def test_a_workflow_with_a_forbidden_import_keeps_the_worker_from_starting(
    temporal_client: Client,
) -> None:
    with pytest.raises(RuntimeError, match="Failed validating workflow"):
        Worker(
            temporal_client,
            task_queue="sandboxed",
            workflows=[imports_a_client.ImportsAClient],
            workflow_runner=workflow_runner(sandboxed, [imports_a_client.ImportsAClient]),
        )


def test_the_modules_of_workflows_have_no_state_that_changes() -> None:
    changeable = [
        f"{module.__name__}.{name}"
        for module in modules_of(workflows)
        for name, value in vars(module).items()
        if isinstance(value, list | dict | set | bytearray)
        and not (name.isupper() or name.startswith("__"))
    ]
    assert changeable == []


def modules_of(package: ModuleType) -> list[ModuleType]:
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(each.name)
    return [module for name, module in sys.modules.items() if name.startswith(package.__name__)]
