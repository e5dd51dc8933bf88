"""The smallest workflow that proves that a server works."""

from temporalio import workflow


@workflow.defn
class SayRoute:
    @workflow.run
    async def run(self, route: str) -> str:
        return f"route {route}"
