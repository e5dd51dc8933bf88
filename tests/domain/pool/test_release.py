"""Which release a pool gets."""

from dataclasses import replace

import pytest

from relight.domain.pool.release import ReleaseEvidence, pool_release

OLD, NEW = "v0.0.73", "v0.0.74"


@pytest.mark.parametrize(
    ("evidence", "tag"),
    [
        (ReleaseEvidence(None), None),
        (ReleaseEvidence(NEW), NEW),
        (ReleaseEvidence(NEW, refused={NEW: "its rollout was stopped"}), None),
        (ReleaseEvidence(NEW, has_routes=True), None),
        (ReleaseEvidence(NEW, in_pool={OLD: 1}), OLD),
        (ReleaseEvidence(NEW, in_pool={OLD: 1}, has_routes=True), None),
        (ReleaseEvidence(NEW, on_routes={OLD: 9, NEW: 1}, has_routes=True), OLD),
        (ReleaseEvidence(NEW, on_routes={OLD: 1, NEW: 1}, has_routes=True), NEW),
        (ReleaseEvidence(NEW, on_routes={OLD: 1, NEW: 9}, has_routes=True), NEW),
        (
            ReleaseEvidence(
                NEW, refused={NEW: "it is open"}, on_routes={OLD: 1, NEW: 9}, has_routes=True
            ),
            OLD,
        ),
        (ReleaseEvidence(NEW, converged=(OLD, NEW), on_routes={OLD: 9}, has_routes=True), NEW),
        (
            ReleaseEvidence(NEW, (OLD,), {NEW: "it is open"}, on_routes={NEW: 9}, has_routes=True),
            OLD,
        ),
    ],
)
def test_the_release_of_a_pool_is_the_last_that_passed(evidence, tag):
    release = pool_release(evidence)
    assert release.tag == tag
    assert release.reason


def test_the_reason_names_the_declared_release_that_did_not_pass():
    evidence = ReleaseEvidence(NEW, refused={NEW: "its rollout was stopped"}, on_routes={OLD: 2})
    assert pool_release(evidence).reason == (
        "most routes were proven at it; v0.0.74 is declared, but its rollout was stopped"
    )


def test_the_reason_names_the_command_that_lets_pass_what_routes_run():
    undone = ReleaseEvidence(NEW, (), {NEW: "its rollout was undone"}, on_routes={NEW: 9})
    named = "`relight rollout start v0.0.74`"
    assert named in pool_release(undone).reason
    assert named not in pool_release(replace(undone, open={NEW})).reason
    assert named not in pool_release(replace(undone, on_routes={}, has_routes=True)).reason
