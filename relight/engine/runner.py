"""How workflows run: imported in the sandbox when a worker starts, and run outside of it."""

import pkgutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from types import ModuleType

from temporalio import workflow
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

SHARED = (
    *("pydantic", "pydantic_core", "annotated_types", "relight.domain"),
    *("relight.engine.step", "relight.engine.search_attributes"),
)


class UnversionedRunner(UnsandboxedWorkflowRunner):
    """Runs workflows without their declared versioning behaviour.

    The SDK always sends the declared behaviour to the server, and the server refuses every task
    of an unversioned worker that declares one.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance for one run."""
        return super().create_instance(
            replace(det, defn=replace(det.defn, versioning_behavior=None))
        )


class CheckedRunner(WorkflowRunner):
    """Checks the workflows in the sandbox when the worker starts, and runs them outside of it.

    The sandbox imports a workflow's module again for each run, and enters it with `exec` at each
    activation: a sixth of the worker's CPU time. What it would refuse only while a workflow runs,
    the replays of all kept histories refuse, since they are in the sandbox.
    """

    def __init__(self, sandbox: SandboxedWorkflowRunner, runner: WorkflowRunner) -> None:
        """Take the sandbox that checks, and the runner that runs."""
        self._sandbox = sandbox
        self._runner = runner

    def prepare_workflow(self, defn: workflow._Definition) -> None:
        """Refuse a workflow that imports what it must not."""
        self._sandbox.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance for one run."""
        return self._runner.create_instance(det)

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        """Take over the worker's setting."""
        self._sandbox.set_worker_level_failure_exception_types(types)
        self._runner.set_worker_level_failure_exception_types(types)


def workflow_runner(
    package: ModuleType, workflows: Collection[type], *, versioned: bool = False
) -> CheckedRunner:
    """Return the runner of a worker.

    Args:
        package: the package that contains the workflows.
        workflows: the workflow classes.
        versioned: whether the worker declares a version.
    """
    return CheckedRunner(
        sandbox(package, workflows),
        UnsandboxedWorkflowRunner() if versioned else UnversionedRunner(),
    )


def sandbox(package: ModuleType, workflows: Collection[type]) -> SandboxedWorkflowRunner:
    """Return the sandbox.

    A forbidden import in a workflow, such as httpx, keeps the worker from starting. The domain and
    the modules without a workflow are shared with the outside: they have no state, and would
    otherwise be imported again for each workflow.

    Args:
        package: the package that contains the workflows.
        workflows: the workflow classes.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            *SHARED, *_modules_without(package, workflows)
        ),
        runner_class=UnversionedRunner,
    )


def _modules_without(package: ModuleType, workflows: Collection[type]) -> Iterator[str]:
    """Yield the names of the modules in a package that define no workflow."""
    defining = {each.__module__ for each in workflows}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.ispkg and module.name not in defining:
            yield module.name
