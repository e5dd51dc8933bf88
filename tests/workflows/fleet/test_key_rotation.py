"""Rotation of keys: no host is lost, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import user_data_renderer
from relight.domain.key_rotation import (
    KeyKind,
    KeyName,
    KeyStanding,
    RotateKeysInput,
    RotationPhase,
    rotation_workflow_id,
)
from relight.domain.machine import MachinePlan
from relight.domain.names import route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import RouteStatus
from relight.hosts.errors import HostKeyMismatchError, LoginRefusedError
from relight.hosts.key_files import KeyFiles, KeyRing, next_of, worker_name
from starter.local.children import wait_until
from starter.local.home import make_next, new_client_key, new_host_key_secret, prepare_home
from tests.workflows.harness import ORIGIN, Harness, small_installation
from tests.workflows.pools import keep_pool
from workflows.failures import fault_of
from workflows.fleet.key_rotation import RotateKeys
from workflows.route.replace import AutoreplaceRoute

ROUTES = ("de-1", "de-2", "de-3")
NEW_TEXT = {KeyKind.CLIENT: new_client_key, KeyKind.HOST_SECRET: new_host_key_secret}

of_each_kind = pytest.mark.parametrize("kind", KeyKind)


@dataclass
class Rotation:
    """Rotations of an installation whose hosts check keys as real ones do.

    Attributes:
        files: of the keys in use, by kind.
    """

    harness: Harness
    files: dict[KeyKind, Path]
    keys: KeyFiles

    @property
    def hosts(self) -> SimulatedHosts:
        return self.harness.hosts

    def names(self, kind: KeyKind) -> tuple[KeyName, ...]:
        ring: KeyRing = self.keys()
        return tuple(
            each.name for each in (ring.clients if kind is KeyKind.CLIENT else ring.secrets)
        )

    def make_next(self, kind: KeyKind) -> None:
        make_next(self.files[kind], NEW_TEXT[kind]())

    async def start(
        self, kind: KeyKind, *names: KeyName, start_over: bool = False
    ) -> WorkflowHandle[RotateKeys, KeyStanding]:
        """Start a rotation, or wake the one that runs."""
        old, new = names or self.names(kind)
        policy = WorkflowIDConflictPolicy
        return await self.harness.client.start_workflow(
            RotateKeys.run,
            RotateKeysInput(kind=kind, old=old, new=new, origin=ORIGIN, start_over=start_over),
            id=rotation_workflow_id(kind),
            task_queue=self.harness.task_queue,
            start_signal="visit_now",
            id_conflict_policy=policy.TERMINATE_EXISTING if start_over else policy.USE_EXISTING,
        )

    async def rotate(self, kind: KeyKind) -> KeyStanding:
        return await (await self.start(kind)).result()

    def standing(self, kind: KeyKind) -> KeyStanding | None:
        return self.harness.store.key_rotations.standing(kind)

    async def until_waits_for(self, kind: KeyKind, *machine_keys: str) -> KeyStanding:
        """Wait until these machines, and no others, were visited and have a fault."""

        def waits() -> bool:
            standing = self.standing(kind)
            failed = [each for each in standing.waiting if each.failed] if standing else []
            found = {each.machine_key for each in failed}
            return found == set(machine_keys) == {each.machine_key for each in standing.waiting}

        await self.harness.until(waits)
        standing = self.standing(kind)
        assert standing is not None
        return standing

    async def tries(self, key: str, kind: KeyKind, name: KeyName) -> str:
        """Log in on a machine with one key only; return the kind of the fault, or nothing."""
        machine = self.harness.store.machines.last_observed(key)
        assert machine is not None
        only = {"client" if kind is KeyKind.CLIENT else "secret": name.fingerprint}
        try:
            async with self.hosts.connect_with(machine, **only):
                return ""
        except (HostKeyMismatchError, LoginRefusedError) as error:
            return error.kind

    async def assert_rotated(self, kind: KeyKind, old: KeyName, new: KeyName) -> None:
        """Check that each machine accepts or shows the new key only."""
        refusal = "login-refused" if kind is KeyKind.CLIENT else "host-key-mismatch"
        keys = [key for key in await self.harness.machine_keys() if self.hosts.host(key)]
        assert keys
        for key in keys:
            assert await self.tries(key, kind, new) == "", key
            assert await self.tries(key, kind, old) == refusal, key

    def assert_nothing_happened(self) -> None:
        """Check that no machine was destroyed or suspected."""
        kinds = {event.kind for event in self.harness.events()}
        assert not kinds & {"machine-destroyed", "breaker-opened", "incident-opened"}
        assert self.harness.store.breaker.get().incident is None


@pytest.fixture
async def rotation(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Rotation]:
    """Three routes and a pool machine, whose hosts check keys."""
    ssh = prepare_home(tmp_path / "home")
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    client = keys().clients[0].private
    user_data = replace(user_data_renderer(client), keys=keys)
    async with small_installation(temporal_client, tmp_path, user_data=user_data) as harness:
        harness.hosts.keys = keys
        await asyncio.gather(*(harness.serving_route(route_id=each) for each in ROUTES))
        await harness.pool_machine()
        files = {KeyKind.CLIENT: ssh.client_key, KeyKind.HOST_SECRET: ssh.host_key_secret}
        yield Rotation(harness, files, keys)
        for kind in KeyKind:
            with suppress(RPCError):
                handle = temporal_client.get_workflow_handle(rotation_workflow_id(kind))
                await handle.terminate("its test has ended")


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
    assert [event.detail["new"]["fingerprint"] for event in begun] == [new.fingerprint]
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
    ended = await running.result()
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
    assert await rotation.tries("later-g1", kind, old) == ""
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
