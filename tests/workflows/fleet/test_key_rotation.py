"""Rotation of keys: no host is lost, whatever happens meanwhile."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowFailureError

from relight.domain.key_rotation import (
    KeyKind,
    KeyName,
    RotateKeysInput,
    RotationPhase,
    next_of,
    rotation_workflow_id,
)
from relight.domain.machine import MachinePlan
from relight.domain.names import route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import RouteStatus
from relight.hosts.key_files import worker_name
from starter.local.children import wait_until
from tests.workflows.harness import ORIGIN
from tests.workflows.pools import keep_pool
from tests.workflows.rotations import ROUTES, Rotation, rotating_installation
from workflows.failures import fault_of
from workflows.fleet.key_rotation import RotateKeys
from workflows.route.replace import AutoreplaceRoute

of_each_kind = pytest.mark.parametrize("kind", KeyKind)


@pytest.fixture
async def rotation(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Rotation]:
    async with rotating_installation(temporal_client, tmp_path) as rotation:
        yield rotation


@of_each_kind
async def test_each_machine_gets_the_new_key_only(rotation: Rotation, kind: KeyKind) -> None:
    machines = await rotation.harness.machine_keys()
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    done = await rotation.rotate(kind)
    assert done.rotation.phase is RotationPhase.FINISHED
    assert (done.machines, done.done, done.waiting) == (4, 4, ())
    await rotation.assert_rotated(kind, old, new)
    assert await rotation.harness.machine_keys() == machines
    rotation.assert_nothing_happened()
    begun = rotation.harness.events(kind="key-rotation-begun")
    advanced = rotation.harness.events(kind="key-rotation-advanced")
    assert [event.detail["new"] for event in begun] == [new.model_dump()]
    assert [event.detail["phase"] for event in advanced] == ["removing", "finished"]


@of_each_kind
async def test_the_old_file_is_not_needed_any_more(rotation: Rotation, kind: KeyKind) -> None:
    rotation.make_next(kind)
    _, new = rotation.names(kind)
    await rotation.rotate(kind)
    next_of(rotation.files[kind]).replace(rotation.files[kind])
    assert rotation.names(kind) == (new,)
    for route_id in ROUTES:
        await rotation.harness.swap(route_id, "v0.0.74")
    await rotation.harness.provision("later")
    rotation.make_next(kind)
    assert (await rotation.rotate(kind)).done == 5
    rotation.assert_nothing_happened()


@of_each_kind
async def test_no_secret_is_in_a_history_or_in_the_store(
    rotation: Rotation, kind: KeyKind, tmp_path: Path
) -> None:
    rotation.make_next(kind)
    await rotation.rotate(kind)
    await rotation.harness.provision("later")
    secrets = {"PRIVATE KEY"}
    for file in (rotation.files[kind], next_of(rotation.files[kind])):
        secrets |= {line for line in file.read_text().splitlines() if len(line) > 20}
    keys = rotation.keys()
    for key in await rotation.harness.machine_keys():
        for secret in keys.secrets:
            secrets |= set(secret.host_key(key).private.splitlines()[1:-1])
    texts = [(tmp_path / "fleet.db").read_bytes(), (tmp_path / "fleet.db-wal").read_bytes()]
    for workflow_id in (rotation_workflow_id(kind), route_workflow_id("later")):
        handle = rotation.harness.client.get_workflow_handle(workflow_id)
        history = await handle.fetch_history()
        texts += [event.SerializeToString() for event in history.events]
        assert len(history.events) > 10
    assert any(keys.fingerprints(kind)[1].encode() in text for text in texts)
    assert [each for each in secrets if any(each.encode() in text for text in texts)] == []


@of_each_kind
async def test_a_machine_that_does_not_answer_is_named_and_waited_for(
    rotation: Rotation, kind: KeyKind
) -> None:
    rotation.hosts.unreachable.add("de-2-g1")
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    running = await rotation.start(kind)
    standing = await rotation.until_waits_for(kind, "de-2-g1")
    assert standing.rotation.phase is RotationPhase.ADDING
    [waiting] = standing.waiting
    assert (waiting.route_id, waiting.left, standing.blocked) == ("de-2", False, True)
    assert "no such host" in waiting.reason
    if kind is KeyKind.CLIENT:
        assert await rotation.tries("de-1-g1", kind, old) == ""
    assert await rotation.tries("de-1-g1", kind, new) == ""
    rotation.hosts.unreachable.clear()
    assert (await rotation.start(kind)).id == running.id
    assert (await running.result()).rotation.is_finished
    await rotation.assert_rotated(kind, old, new)
    rotation.assert_nothing_happened()


@of_each_kind
async def test_a_person_lets_it_go_on_without_a_machine_which_gets_its_key_later(
    rotation: Rotation, kind: KeyKind
) -> None:
    rotation.hosts.unreachable.add("de-2-g1")
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    running = await rotation.start(kind)
    await rotation.until_waits_for(kind, "de-2-g1")
    rotation.harness.store.key_rotations.leave(kind, ["de-2-g1"], rotation.harness.operation())
    await rotation.start(kind)
    ended = await rotation.ended(running)
    assert ended.rotation.phase is RotationPhase.REMOVING
    assert (ended.waiting_count, ended.left_count, ended.blocked) == (1, 1, False)
    [left] = ended.waiting
    assert (left.machine_key, left.left) == ("de-2-g1", True)
    assert await rotation.tries("de-1-g1", kind, old) != ""

    # A machine that is made now never has the old key.
    await rotation.harness.provision("later")
    assert await rotation.tries("later-g1", kind, new) == ""
    assert await rotation.tries("later-g1", kind, old) != ""

    rotation.hosts.unreachable.clear()
    await rotation.harness.swap("de-2", "v0.0.74")
    ended = await rotation.rotate(kind)
    assert (ended.rotation.is_finished, ended.done) == (True, 5)
    await rotation.assert_rotated(kind, old, new)
    rotation.assert_nothing_happened()


@of_each_kind
async def test_a_machine_that_was_left_and_is_destroyed_is_waited_for_no_more(
    rotation: Rotation, kind: KeyKind
) -> None:
    rotation.hosts.unreachable.add("de-2-g1")
    rotation.harness.store.key_rotations.leave(kind, ["de-2-g1"], rotation.harness.operation())
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    assert (await rotation.rotate(kind)).rotation.phase is RotationPhase.REMOVING
    await rotation.harness.client.execute_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput(route_id="de-2", reason="gone", unreachable=True, origin=ORIGIN),
        id=route_workflow_id("de-2"),
        task_queue=rotation.harness.task_queue,
    )
    await rotation.harness.until(lambda: rotation.harness.destroyed() == ["de-2-g1"])
    ended = await rotation.rotate(kind)
    assert (ended.rotation.is_finished, ended.machines) == (True, 3)  # it took the pool's
    await rotation.assert_rotated(kind, old, new)


@of_each_kind
async def test_a_lost_machine_is_waited_for_and_gets_its_key_if_it_comes_back(
    rotation: Rotation, kind: KeyKind
) -> None:
    rotation.hosts.unreachable.add("de-2-g1")
    rotation.harness.store.sweeps.mark_lost("de-2-g1", rotation.harness.operation())
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    running = await rotation.start(kind)
    [lost] = (await rotation.until_waits_for(kind, "de-2-g1")).waiting
    assert lost.reason == "its provider does not list it"
    rotation.hosts.unreachable.clear()
    await rotation.start(kind)
    assert (await running.result()).rotation.is_finished
    await rotation.assert_rotated(kind, old, new)


@of_each_kind
async def test_machines_that_are_made_swapped_and_replaced_meanwhile_are_not_lost(
    rotation: Rotation, kind: KeyKind
) -> None:
    harness = rotation.harness
    rotation.hosts.unreachable.add("de-3-g1")
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    running = await rotation.start(kind)
    await rotation.until_waits_for(kind, "de-3-g1")
    await harness.provision("later")
    await harness.swap("de-1", "v0.0.74")
    await harness.client.execute_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput(
            route_id="de-2", reason="a person's word", requested=True, origin=ORIGIN
        ),
        id=route_workflow_id("de-2"),
        task_queue=harness.task_queue,
    )
    await keep_pool(harness, 2)
    # Made before the rotation is beyond them, so they may have the old key: it visits them too.
    answers = {await rotation.tries("later-g1", kind, each) for each in (old, new)}
    assert "" in answers
    rotation.hosts.unreachable.clear()
    await rotation.start(kind)
    assert (await running.result()).rotation.is_finished
    await harness.until(lambda: harness.destroyed() == ["de-2-g1"])
    await rotation.assert_rotated(kind, old, new)
    next_of(rotation.files[kind]).replace(rotation.files[kind])
    for route_id in (*ROUTES, "later"):
        await harness.swap(route_id, "v0.0.78" if route_id == "de-1" else "v0.0.74")
        assert harness.route(route_id).status is RouteStatus.SERVING
    kinds = {event.kind for event in harness.events()}
    assert not kinds & {"breaker-opened", "incident-opened", "route-faulted"}


async def test_a_provision_goes_on_if_a_new_key_appears_while_it_runs(rotation: Rotation) -> None:
    renderer = rotation.harness.parts.user_data
    plan = MachinePlan(
        key="x-g1",
        route_id="x",
        track="stable",
        provider="fake",
        region="fake-east",
        release_version="0.0.73",
    )
    before = renderer.render(plan)
    for kind in KeyKind:
        rotation.make_next(kind)
        await rotation.rotate(kind)
    after = renderer.render(plan, rotation.harness.store.key_rotations.all())
    assert after.text != before.text
    assert after.sha256 == before.sha256


async def test_a_worker_elsewhere_without_the_new_key_is_waited_for(rotation: Rotation) -> None:
    store = rotation.harness.store
    rotation.make_next(KeyKind.CLIENT)
    old, new = rotation.names(KeyKind.CLIENT)
    secret = rotation.names(KeyKind.HOST_SECRET)[0].fingerprint
    store.worker_keys.report("1@elsewhere", (old.fingerprint,), (secret,))
    running = await rotation.start(KeyKind.CLIENT)

    async def says_so() -> bool:
        description = await running.describe()
        pending = description.raw_description.pending_activities
        return any("1@elsewhere lacks" in each.last_failure.message for each in pending)

    await wait_until(says_so, timedelta(seconds=30))
    standing = rotation.standing(KeyKind.CLIENT)
    assert standing is not None
    assert (standing.added, standing.done) == (0, 0)
    assert await rotation.tries("de-1-g1", KeyKind.CLIENT, new) == "login-refused"
    store.worker_keys.report("1@elsewhere", (old.fingerprint, new.fingerprint), (secret,))
    assert (await running.result()).rotation.is_finished
    await rotation.assert_rotated(KeyKind.CLIENT, old, new)


@of_each_kind
async def test_a_worker_that_does_not_report_and_lacks_the_new_key_changes_nothing(
    rotation: Rotation, kind: KeyKind
) -> None:
    [old] = rotation.names(kind)
    running = await rotation.start(kind, old, KeyName(fingerprint="SHA256:elsewhere"))
    with pytest.raises(WorkflowFailureError) as caught:
        await running.result()
    fault = fault_of(caught.value.cause)
    assert fault.kind == "worker-key-missing"
    assert f"the worker {worker_name()} has no {kind} key SHA256:elsewhere" in fault.summary
    assert await rotation.tries("de-1-g1", kind, old) == ""


@of_each_kind
async def test_a_lost_new_key_is_given_up_for_another(rotation: Rotation, kind: KeyKind) -> None:
    rotation.hosts.unreachable.add("de-3-g1")
    rotation.make_next(kind)
    old, lost = rotation.names(kind)
    await rotation.start(kind)
    await rotation.until_waits_for(kind, "de-3-g1")
    kept = next_of(rotation.files[kind]).read_text()
    next_of(rotation.files[kind]).unlink()
    rotation.make_next(kind)
    _, new = rotation.names(kind)
    other = await rotation.harness.client.start_workflow(
        RotateKeys.run,
        RotateKeysInput(kind=kind, old=old, new=new, origin=ORIGIN),
        id=f"{rotation_workflow_id(kind)}/other",
        task_queue=rotation.harness.task_queue,
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await other.result()
    assert fault_of(caught.value.cause).kind == "key-rotation-busy"
    rotation.hosts.unreachable.clear()
    running = await rotation.start(kind, old, new, start_over=True)
    if kind is KeyKind.HOST_SECRET:
        # Hosts that show a key of the lost secret cannot be known again.
        await rotation.until_waits_for(
            kind, *(key for key in await rotation.harness.machine_keys() if key != "de-3-g1")
        )
        assert await rotation.tries("de-3-g1", kind, new) == ""
        return
    assert (await running.result()).rotation.is_finished
    await rotation.assert_rotated(kind, old, new)
    rotation.files[kind].write_text(kept)
    assert rotation.names(kind)[0] == lost
    for key in await rotation.harness.machine_keys():
        assert await rotation.tries(key, kind, lost) == "login-refused"


async def test_a_host_that_keeps_its_host_key_is_waited_for(rotation: Rotation) -> None:
    kind = KeyKind.HOST_SECRET
    host = rotation.hosts.of("de-1")
    host.keeps_host_key = True
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    running = await rotation.start(kind)
    standing = await rotation.until_waits_for(kind, "de-1-g1")
    assert "the host key was not changed: sshd has an error" in standing.waiting[0].reason

    async def is_shown() -> bool:
        metadata = await running.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return r"sshd has an error \[here\](http\://elsewhere)" in metadata.current_details

    await wait_until(is_shown, timedelta(seconds=10))
    assert await rotation.tries("de-1-g1", kind, old) == ""
    host.keeps_host_key = False
    await rotation.start(kind)
    assert (await running.result()).rotation.is_finished
    await rotation.assert_rotated(kind, old, new)


async def test_a_host_that_accepts_the_old_client_key_still_is_waited_for(
    rotation: Rotation,
) -> None:
    kind = KeyKind.CLIENT
    rotation.make_next(kind)
    old, new = rotation.names(kind)
    host = rotation.hosts.of("de-1")
    host.other_authorized_keys = [old.public]
    running = await rotation.start(kind)
    standing = await rotation.until_waits_for(kind, "de-1-g1")
    assert standing.rotation.phase is RotationPhase.REMOVING
    assert "it still accepts the old client key" in standing.waiting[0].reason
    host.other_authorized_keys = []
    await rotation.start(kind)
    assert (await running.result()).rotation.is_finished
    await rotation.assert_rotated(kind, old, new)


async def test_a_rotation_that_waits_for_long_continues_as_new(
    temporal_client: Client, tmp_path: Path, short_waits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.fleet.key_rotation.MAX_EVENTS", 10)
    monkeypatch.setattr("workflows.fleet.key_rotation.FIRST_PAUSE", timedelta(milliseconds=50))
    kind = KeyKind.CLIENT
    async with rotating_installation(temporal_client, tmp_path) as rotation:
        rotation.hosts.unreachable.add("de-3-g1")
        rotation.make_next(kind)
        old, new = rotation.names(kind)
        running = await rotation.start(kind)

        async def continued() -> bool:
            handle = temporal_client.get_workflow_handle(running.id)
            return (await handle.describe()).run_id != running.first_execution_run_id

        await wait_until(continued, timedelta(seconds=30))
        rotation.hosts.unreachable.clear()
        assert (await running.result()).rotation.is_finished
        await rotation.assert_rotated(kind, old, new)
        assert len(rotation.harness.events(kind="key-rotation-begun")) == 1
