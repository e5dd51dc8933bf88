"""What an unversioned worker leaves unsaid: how its workflows would take a new version."""

from dataclasses import replace

from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
)


class UnversionedRunner(UnsandboxedWorkflowRunner):
    """Runs a workflow within the sandbox as one that declares no versioning behaviour.

    The SDK tells the server of a declared behaviour whoever runs the workflow, and the server
    refuses every task of an unversioned worker that names one.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Make the instance of a run."""
        return super().create_instance(
            replace(det, defn=replace(det.defn, versioning_behavior=None))
        )
