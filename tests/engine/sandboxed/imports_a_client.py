"""A workflow whose module imports an HTTP client."""

import httpx
from temporalio import workflow


@workflow.defn
class ImportsAClient:
    """It would be refused at its first run, when it is too late."""

    @workflow.run
    async def run(self) -> str:
        """Return the client's version."""
        return httpx.__version__
