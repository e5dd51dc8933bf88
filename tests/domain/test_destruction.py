"""Which machines may be destroyed, and how many in an hour."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
    GroupReach,
)
from relight.domain.destruction import Allowance, destruction_refusal
from relight.domain.machine import MachineAtProvider, MachineOnRecord, MachineStatus, RecordedAs
from tests.domain.fleets import HOUR, NOW

FACTS = ("key", "provider", "provider_id", "generation")
LIMITS = BreakerLimits()
MINUTE = timedelta(minutes=1)
CLOSED = Breaker()


def found(**fields) -> MachineAtProvider:
    facts = {
        "key": "a-g1",
        "generation": 1,
        "provider": "linode",
        "provider_id": "77",
        "region": "east",
        "architecture": "amd64",
        "status": MachineStatus.RUNNING,
        "owner": "us",
        "created_at": NOW - 5 * HOUR,
    }
    return MachineAtProvider(**{**facts, **fields})


def recorded(**fields) -> MachineOnRecord:
    facts = {
        "key": "a-g1",
        "generation": 1,
        "provider": "linode",
        "provider_id": "77",
        "region": "east",
        "recorded_as": RecordedAs.RUNNING,
        "recorded_at": NOW - 5 * HOUR,
        "route_id": "a",
    }
    return MachineOnRecord(**{**facts, **fields})


def test_the_recorded_machine_may_be_destroyed_unless_it_serves_its_route():
    assert destruction_refusal(recorded(), found(), "us") is None
    assert "serves route a" in str(destruction_refusal(recorded(serves=True), found(), "us"))


@pytest.mark.parametrize(
    ("differs", "reason"),
    [
        ({"key": "a-g2"}, "its key"),
        ({"provider": "oci"}, "its provider"),
        ({"provider_id": "78"}, "its id"),
        ({"generation": 2}, "its generation"),
        ({"generation": None}, "its generation"),
        ({"owner": "them"}, "the ownership tag them"),
        ({"owner": None}, "no ownership tag"),
    ],
)
def test_a_machine_that_differs_in_one_fact_is_not_destroyed(differs, reason):
    assert reason in str(destruction_refusal(recorded(), found(**differs), "us"))


@given(
    st.sampled_from(["a-g1", "a-g2"]),
    st.sampled_from([1, 2, None]),
    st.sampled_from(["linode", "oci"]),
    st.sampled_from(["77", "78"]),
    st.sampled_from(["us", "them", None, ""]),
    st.sampled_from([None, "77"]),
)
def test_a_machine_is_destroyed_only_if_all_facts_and_the_tag_match(
    key, generation, provider, provider_id, owner, known_id
):
    machine = found(
        key=key, generation=generation, provider=provider, provider_id=provider_id, owner=owner
    )
    record = recorded(provider_id=known_id)
    same = all(getattr(machine, fact) == getattr(record, fact) for fact in FACTS)
    assert (destruction_refusal(record, machine, "us") is None) is (same and owner == "us")
    assert destruction_refusal(None, machine, "us") is not None


destructions = st.lists(
    st.builds(
        Destruction,
        at=st.integers(-90, 0).map(lambda minutes: NOW + minutes * MINUTE),
        provider=st.sampled_from(["linode", "oci"]),
        region=st.sampled_from(["east", "west"]),
        unreachable=st.booleans(),
    ),
    max_size=15,
)


def why_not(breaker, provider="linode", location="east", done=()):
    return Allowance(breaker, done, LIMITS, NOW).why_not(provider, location, "stable")


@given(
    st.lists(
        st.tuples(
            st.integers(0, 25), st.sampled_from(["linode", "oci"]), st.sampled_from(["east", "w"])
        ),
        max_size=80,
    )
)
def test_no_hour_has_more_destructions_than_the_limits(requests):
    done: list[Destruction] = []
    now = NOW
    for minutes, provider, location in requests:
        now += minutes * MINUTE
        if Allowance(CLOSED, done, LIMITS, now).why_not(provider, location) is None:
            done.append(Destruction(at=now, provider=provider, region=location))
    for last in done:
        hour = [each for each in done if last.at - HOUR < each.at <= last.at]
        assert len(hour) <= LIMITS.destroyed_per_hour
        by_region = Counter((each.provider, each.region) for each in hour)
        assert max(by_region.values()) <= LIMITS.destroyed_per_hour_in_region


@given(destructions)
def test_a_taken_destruction_counts_like_a_recorded_one(done):
    allowance = Allowance(CLOSED, done, LIMITS, NOW)
    recent = [each for each in done if NOW - each.at < HOUR]
    taken = 0
    while allowance.why_not("linode", "east") is None:
        allowance.take("linode", "east")
        taken += 1
    here = sum((each.provider, each.region) == ("linode", "east") for each in recent)
    room = min(LIMITS.destroyed_per_hour_in_region - here, LIMITS.destroyed_per_hour - len(recent))
    assert taken == max(0, room)


def destroyed_at(*minutes_ago: int, region: str = "east") -> list[Destruction]:
    return [
        Destruction(provider="linode", region=region, at=NOW - each * MINUTE)
        for each in minutes_ago
    ]


def test_a_limit_says_until_when_it_holds():
    limits = BreakerLimits(destroyed_per_hour=3, destroyed_per_hour_in_region=2)
    of_region = Allowance(CLOSED, destroyed_at(10, 50, 40), limits, NOW)
    # Of three within the hour, the second oldest has to be an hour ago.
    assert str(of_region.why_not("linode", "east")).endswith(
        f"3 destroyed within an hour, 2 may be; the next at {NOW + 20 * MINUTE:%H:%M} UTC"
    )
    everywhere = Allowance(CLOSED, destroyed_at(5, 30, 59, region="west"), limits, NOW)
    assert everywhere.why_not("linode", "east") == (
        f"3 destroyed within an hour, 3 may be; the next at {NOW + MINUTE:%H:%M} UTC"
    )


def test_an_open_breaker_says_when_it_closes_and_what_releases_a_group():
    incident = BreakerIncident(opened_at=NOW, last_observed_at=NOW, summary="a region is out")
    for calm_since, closes in (
        (None, "it closes 15 min after the cause is gone"),
        (NOW - 5 * MINUTE, f"it closes at {NOW + 10 * MINUTE:%H:%M} UTC if that lasts"),
    ):
        breaker = Breaker(incident=incident, calm_since=calm_since)
        reason = str(Allowance(breaker, (), LIMITS, NOW).why_not("linode", "east"))
        assert reason == (
            f"the breaker is open: a region is out; {closes}, or for one group with "
            "`relight breaker override add`"
        )


def test_no_override_is_advised_while_the_control_plane_is_offline():
    check = ConnectivityResult(
        name="https://deb.debian.org", observed_at=NOW, reached=False, answer="no route to host"
    )
    incident = BreakerIncident(
        opened_at=NOW, last_observed_at=NOW, summary="offline", connectivity=(check,), offline=True
    )
    region = GroupReach(group="region linode/east", machines=3, observed=3, unreachable=3)
    for each in (incident, incident.model_copy(update={"groups": (region,)})):
        reason = Allowance(Breaker(incident=each), (), LIMITS, NOW).why_open()
        assert reason == "the breaker is open: offline; it closes 15 min after the cause is gone"
