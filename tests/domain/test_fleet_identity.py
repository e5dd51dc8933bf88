"""Whether a store and a Temporal namespace belong together."""

import pytest

from relight.domain.fleet_identity import (
    Agreement,
    NamespaceIdentity,
    StoreIdentity,
    agreement,
)


@pytest.mark.parametrize(
    ("works_with", "belongs_to", "expected"),
    [
        ("n", "a", Agreement.AGREED),
        (None, "a", Agreement.AGREED),
        ("n", None, Agreement.UNCLAIMED),
        (None, None, Agreement.UNCLAIMED),
        ("m", "a", Agreement.OTHER_TEMPORAL),
        ("m", None, Agreement.OTHER_TEMPORAL),
        ("n", "b", Agreement.OTHER_FLEET),
        (None, "b", Agreement.OTHER_FLEET),
        ("m", "b", Agreement.OTHER_FLEET),
    ],
)
def test_only_a_pair_that_names_each_other_agrees(
    works_with: str | None, belongs_to: str | None, expected: Agreement
) -> None:
    store = StoreIdentity(fleet_id="a", namespace_id=works_with)
    namespace = NamespaceIdentity(namespace_id="n", fleet_id=belongs_to)
    assert agreement(store, namespace) is expected
