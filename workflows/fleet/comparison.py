"""Comparison of the record with providers and hosts, and the adoption of what is proven now."""

from collections import Counter

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.comparison import (
    CompareRecordsInput,
    CompareRoutesInput,
    CompareScopesInput,
    Comparison,
    RecordsCompared,
    Verdict,
)
from workflows.fleet.steps import ComparisonActivities

ROUTES_PER_PAGE = 100
"""Routes compared by one activity."""

MAX_REPORTED = 500
"""How many comparisons the result lists."""


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class CompareRecords:
    """Compare everything on record; with `adopt`, take what is proven now into the record.

    Nothing changes at providers and on hosts. A failure or a cancellation leaves what was adopted
    so far; the next run adopts the rest.
    """

    @workflow.run
    async def run(self, input: CompareRecordsInput) -> RecordsCompared:
        """Read the providers, then compare the routes by pages, then what is declared."""
        providers = await ComparisonActivities.compare_providers(input)
        found: list[Comparison] = [*providers.others]
        for start in range(0, len(providers.routes), ROUTES_PER_PAGE):
            page = CompareRoutesInput(
                routes=providers.routes[start : start + ROUTES_PER_PAGE],
                origin=input.origin,
                adopt=input.adopt,
                older=input.older,
            )
            found += (await ComparisonActivities.compare_routes(page)).comparisons
        scopes = CompareScopesInput(origin=input.origin, adopt=input.adopt, older=input.older)
        found += (await ComparisonActivities.compare_scopes(scopes)).comparisons
        differ = [each for each in found if each.verdict is not Verdict.AGREES]
        return RecordsCompared(
            comparisons=tuple(differ[:MAX_REPORTED]),
            count=dict(Counter(each.verdict for each in found)),
            unobserved=providers.unobserved,
        )
