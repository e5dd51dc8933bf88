"""The sandbox that workflows run in."""

import pkgutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from types import ModuleType

from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

SHARED = (
    *("pydantic", "pydantic_core", "annotated_types", "relight.domain"),
    *("relight.engine.step", "relight.engine.search_attributes"),
)


class UnversionedRunner(UnsandboxedWorkflowRunner):
    """Runs workflows in the sandbox without their declared versioning behaviour.

    The SDK always sends the declared behaviour to the server, and the server refuses every task
    of an unversioned worker that declares one.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance for one run."""
        return super().create_instance(
            replace(det, defn=replace(det.defn, versioning_behavior=None))
        )


def workflow_runner(
    package: ModuleType, workflows: Collection[type], *, versioned: bool = False
) -> SandboxedWorkflowRunner:
    """Return the sandbox.

    A forbidden import in a workflow, such as httpx, keeps the worker from starting. The domain and
    the modules without a workflow are shared with the outside: they have no state, and would
    otherwise be imported again for each workflow.

    Args:
        package: the package that contains the workflows.
        workflows: the workflow classes.
        versioned: whether the worker declares a version.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            *SHARED, *_modules_without(package, workflows)
        ),
        runner_class=UnsandboxedWorkflowRunner if versioned else UnversionedRunner,
    )


def _modules_without(package: ModuleType, workflows: Collection[type]) -> Iterator[str]:
    """Yield the names of the modules in a package that define no workflow."""
    defining = {each.__module__ for each in workflows}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.ispkg and module.name not in defining:
            yield module.name
