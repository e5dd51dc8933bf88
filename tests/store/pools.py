"""Pools for the store's tests."""

from relight.domain.route import RecordMachineInput
from relight.store.store import Store
from tests.store.fleets import (
    ORIGIN,
    Run,
    machine,
    proving,
)

PROOF = proving().proof


def pool_run(region: str = "east") -> Run:
    return Run(f"pool/lab/{region}")


def planned(store: Store, region: str = "east") -> str:
    return store.pool.plan("lab", region, "v0.0.73", pool_run(region).activity())


def made_ready(store: Store, region: str = "east", tag: str = "v0.0.73") -> str:
    """Make a machine of a pool ready, as its workflow does."""
    run, key = pool_run(region), planned(store, region)
    seen = machine(key, region)
    store.routes.record_machine(
        RecordMachineInput(machine=seen, user_data_sha256="cd" * 32, origin=ORIGIN), run.activity()
    )
    proof = PROOF.model_copy(update={"release_tag": tag})
    store.pool.record_ready(key, seen, proof, run.activity())
    return key
