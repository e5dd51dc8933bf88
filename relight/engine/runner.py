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
    """Runs a workflow within the sandbox as one that declares no versioning behaviour.

    The SDK sends a declared behaviour to the server in any case, and the server refuses every task
    of an unversioned worker that names one.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Make the instance of a run."""
        return super().create_instance(
            replace(det, defn=replace(det.defn, versioning_behavior=None))
        )


def workflow_runner(
    package: ModuleType, workflows: Collection[type], *, versioned: bool = False
) -> SandboxedWorkflowRunner:
    """Return the sandbox.

    An unintended import, as of httpx, keeps a worker from starting. Shared with the outside are the
    domain, and the modules without a workflow: they have no state, and would otherwise be imported
    again for each workflow.

    Args:
        package: the package that holds the workflows.
        workflows: their classes.
        versioned: the worker declares a version.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            *SHARED, *_modules_without(package, workflows)
        ),
        runner_class=UnsandboxedWorkflowRunner if versioned else UnversionedRunner,
    )


def _modules_without(package: ModuleType, workflows: Collection[type]) -> Iterator[str]:
    """Yield the modules of a package that define none of the workflows."""
    defining = {each.__module__ for each in workflows}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.ispkg and module.name not in defining:
            yield module.name
