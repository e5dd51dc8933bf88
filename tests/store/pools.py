"""Pool machines for the store's tests."""

from typing import Any

from relight.domain.pool.pool import claimable
from relight.domain.route import RecordMachineInput
from relight.store.events import Operation
from relight.store.store import Store
from tests.store.fleets import (
    ORIGIN,
    Run,
    machine,
    proving,
    run_on,
)

PROOF = proving().proof


def pool_run(region: str = "east") -> Run:
    return Run(f"pool/lab/{region}")


def planned(store: Store, region: str = "east") -> str:
    return store.pool.plan("lab", region, "v0.0.73", pool_run(region).activity())


def made_ready(store: Store, region: str = "east", tag: str = "v0.0.73") -> str:
    """Make a machine of a pool ready, as its workflow does; return its key."""
    run, key = pool_run(region), planned(store, region)
    created = machine(key, region)
    store.routes.record_machine(
        RecordMachineInput(machine=created, user_data_sha256="cd" * 32, origin=ORIGIN),
        run.activity(),
    )
    proof = PROOF.model_copy(update={"release_tag": tag})
    store.pool.record_ready(key, created, proof, run.activity())
    return key


def claim(
    store: Store,
    route_id: str = "r-1",
    activity: Operation | None = None,
    architecture: str | None = None,
) -> Any:
    activity = activity or run_on(route_id).activity()
    return store.pool.claim(route_id, "v0.0.73", activity, claimable, architecture)
