"""The search attributes that make an operation findable in the Temporal UI."""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from messages import search_attributes as names

ROUTE = SearchAttributeKey.for_keyword(names.ROUTE)
ROLLOUT = SearchAttributeKey.for_keyword(names.ROLLOUT)
TRACK = SearchAttributeKey.for_keyword(names.TRACK)
PROVIDER = SearchAttributeKey.for_keyword(names.PROVIDER)
REGION = SearchAttributeKey.for_keyword(names.REGION)
RELEASE = SearchAttributeKey.for_keyword(names.RELEASE)
FAULT = SearchAttributeKey.for_keyword(names.FAULT)


def attributes(values: dict[SearchAttributeKey[str], str | None]) -> TypedSearchAttributes:
    """Return the attributes that have a value."""
    return TypedSearchAttributes(
        [SearchAttributePair(key, value) for key, value in values.items() if value is not None]
    )
