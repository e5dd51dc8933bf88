"""The search attributes of Relight's workflows in Temporal. All are Keywords.

The server must have them registered: `relight up` does that for the server that it starts, and
`docker-compose.temporal.yml` for its own.
"""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

ROUTE = SearchAttributeKey.for_keyword("RelightRoute")
ROLLOUT = SearchAttributeKey.for_keyword("RelightRollout")
TRACK = SearchAttributeKey.for_keyword("RelightTrack")
PROVIDER = SearchAttributeKey.for_keyword("RelightProvider")
REGION = SearchAttributeKey.for_keyword("RelightRegion")
RELEASE = SearchAttributeKey.for_keyword("RelightRelease")
FAULT = SearchAttributeKey.for_keyword("RelightFault")

NAMES = tuple(each.name for each in (ROUTE, ROLLOUT, TRACK, PROVIDER, REGION, RELEASE, FAULT))


def attributes(values: dict[SearchAttributeKey[str], str | None]) -> TypedSearchAttributes:
    """Return the attributes that have a value."""
    return TypedSearchAttributes(
        [SearchAttributePair(key, value) for key, value in values.items() if value is not None]
    )
