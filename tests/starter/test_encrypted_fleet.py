"""A fleet whose payloads are encrypted: Temporal stores no plain text of it, and all works."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Thread

import httpx
import pytest
from google.protobuf.json_format import MessageToDict, MessageToJson
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client

from relight.domain.fault.fault import Fault
from relight.engine.connection import connect
from relight.engine.encryption import EncryptionCodec, key_name, new_key
from relight.settings import Settings
from relight.temporal_settings import TemporalSettings
from starter import schedules
from starter.codec_server import MAX_BODY_BYTES, CodecServer
from starter.local.home import prepare_home
from starter.local.temporal import EmbeddedTemporal
from tests.starter.in_process import InProcess
from tests.starter.installation import Installation, operated_installation, provision

SECRET = "because of customer 4711"
TOKEN = "t" * 40
UI = "https://temporal.example"


@dataclass(frozen=True)
class Encrypted:
    """An installation with encryption on.

    Attributes:
        keys: its file of keys.
        plain: a client without a codec: it sees what Temporal has.
    """

    installation: Installation
    relight: InProcess
    settings: Settings
    keys: Path
    plain: Client


@pytest.fixture
async def encrypted(
    own_temporal: EmbeddedTemporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Encrypted]:
    monkeypatch.setattr("activities.machine.polls.POLL", timedelta(milliseconds=50))
    monkeypatch.setenv("TEMPORAL_ADDRESS", own_temporal.address)
    keys = tmp_path / "payload-keys"
    keys.write_text(f"{new_key()}\n")
    settings = Settings(home=tmp_path, temporal=TemporalSettings(payload_keys=keys))
    client = await connect(settings)
    async with operated_installation(client, own_temporal.address, tmp_path) as installation:
        relight = installation.relight.where(RELIGHT_TEMPORAL__PAYLOAD_KEYS=str(keys))
        plain = await Client.connect(own_temporal.address)
        yield Encrypted(installation, relight, settings, keys, plain)


async def histories(client: Client, task_queue: str) -> dict[str, bytes]:
    """Everything that the server tells about each workflow of a task queue, as bytes."""
    found = {}
    async for each in client.list_workflows(f"TaskQueue = '{task_queue}'"):
        request = GetWorkflowExecutionHistoryRequest(namespace=client.namespace)
        request.execution.workflow_id, request.execution.run_id = each.id, each.run_id
        answer = await client.workflow_service.get_workflow_execution_history(request)
        assert not answer.next_page_token
        handle = client.get_workflow_handle(each.id, run_id=each.run_id)
        described = (await handle.describe()).raw_description
        found[f"{each.id}/{each.run_id}"] = (
            answer.history.SerializeToString() + described.SerializeToString()
        )
    return found


async def test_no_history_holds_plain_text_of_inputs_results_faults_or_updates(
    encrypted: Encrypted,
) -> None:
    installation, relight = encrypted.installation, encrypted.relight
    route_ids = await installation.provision(2)
    gate = installation.harness.hosts.hold_installs()
    started = await relight("rollout", "start", "v0.0.74", "-r", SECRET)
    assert started.code == 0, started
    await gate.reached()
    assert (await relight("rollout", "pause", "-r", SECRET)).code == 0
    assert (await relight("rollout", "resume", "-r", SECRET)).code == 0
    gate.open()
    await installation.nothing_runs()
    # It crashes: a fault with what the host wrote passes through all workflows.
    failed = await relight("rollout", "start", "v0.0.76", "--wait", "-r", SECRET)
    assert failed.code == 1, failed
    await installation.nothing_runs()

    events = installation.harness.store.events.list()
    faults = [
        Fault.model_validate(each.detail["fault"]) for each in events if "fault" in each.detail
    ]
    told = {line for fault in faults for line in (fault.summary, *fault.journal_tail)}
    assert told
    stored = await histories(encrypted.plain, installation.harness.task_queue)
    assert len(stored) >= len(route_ids) + 3
    for name, content in stored.items():
        for text in (SECRET, "typed by hand", *told):
            assert text.encode() not in content, (name, text)
        assert b"relight-key" in content, name


async def test_names_and_search_attributes_stay_readable_and_summaries_do_not(
    encrypted: Encrypted,
) -> None:
    provisioned = await encrypted.relight(*provision("east-1"))
    assert provisioned.code == 0, provisioned
    found = await histories(encrypted.plain, encrypted.installation.harness.task_queue)
    stored = b"".join(found.values())
    for text in ("route/east-1", "ProvisionRoute", "RelightRoute", "fake-east"):
        assert text.encode() in stored
    handle = encrypted.plain.get_workflow_handle("route/east-1")
    summaries = [
        event.user_metadata.summary
        async for event in handle.fetch_history_events()
        if event.user_metadata.HasField("summary")
    ]
    assert len(summaries) > 3
    assert all(key_name(each) for each in summaries)


async def test_schedules_are_compared_by_what_they_say_and_follow_a_new_key(
    encrypted: Encrypted,
) -> None:
    settings, keys = encrypted.settings, encrypted.keys
    client, declared = await connect(settings), len(schedules.table(settings))
    try:
        assert (await schedules.apply(client, settings)).added
        assert (await schedules.apply(client, settings)).unchanged
        assert all(each.as_declared for each in await schedules.list_schedules(client, settings))
        keys.write_text(f"{new_key()}\n{keys.read_text()}")
        with_new = await connect(settings)
        assert len((await schedules.apply(with_new, settings)).changed) == declared
        assert len((await schedules.apply(with_new, settings)).unchanged) == declared
    finally:
        for each in schedules.table(settings):
            await client.get_schedule_handle(each.schedule_id).delete()


async def test_who_has_no_key_or_another_is_refused_plainly_and_writes_nothing(
    encrypted: Encrypted, tmp_path: Path
) -> None:
    installation = encrypted.installation
    [route_id] = await installation.provision(1)
    words = ("route", "swap", route_id, "v0.0.74")
    without = await installation.relight(*words)
    assert without.code == 3
    assert "RELIGHT_TEMPORAL__PAYLOAD_KEYS is not set" in without.said
    other = tmp_path / "other-keys"
    other.write_text(new_key())
    wrong = await installation.relight.where(RELIGHT_TEMPORAL__PAYLOAD_KEYS=str(other))(*words)
    assert wrong.code == 3
    assert "which RELIGHT_TEMPORAL__PAYLOAD_KEYS does not have" in wrong.said
    assert (await encrypted.relight(*words)).code == 0


@pytest.fixture
def served(encrypted: Encrypted) -> Iterator[str]:
    """The address of a codec endpoint with the fleet's keys, without its token."""
    codec = EncryptionCodec.load(encrypted.keys)
    server = CodecServer(codec, TOKEN, port=0, origins=frozenset({UI}), hosts=frozenset())
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def an_input(encrypted: Encrypted) -> Payload:
    """The input of a workflow, as Temporal and its UI have it."""
    [route_id] = await encrypted.installation.provision(1)
    handle = encrypted.plain.get_workflow_handle(f"route/{route_id}")
    async for event in handle.fetch_history_events():
        return event.workflow_execution_started_event_attributes.input.payloads[0]
    raise AssertionError


def ask(payload: Payload) -> bytes:
    return MessageToJson(Payloads(payloads=[payload])).encode()


async def test_the_endpoint_decodes_for_the_ui(encrypted: Encrypted, served: str) -> None:
    payload = await an_input(encrypted)
    assert key_name(payload)
    in_path = {"url": f"{served}/{TOKEN}/decode", "headers": {"Origin": UI}}
    as_bearer = {"url": f"{served}/decode", "headers": {"Authorization": f"Bearer {TOKEN}"}}
    async with httpx.AsyncClient() as http:
        for request in (in_path, as_bearer):
            answer = await http.post(**request, content=ask(payload))  # type: ignore[arg-type]
            assert answer.status_code == 200, answer.text
            [opened] = answer.json()["payloads"]
            assert opened["metadata"]["encoding"]
            expected = await EncryptionCodec.load(encrypted.keys).decode([payload])
            assert opened == MessageToDict(expected[0])
            assert b"fake-east" in expected[0].data
        preflight = await http.options(f"{served}/{TOKEN}/decode", headers={"Origin": UI})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == UI
    assert "x-namespace" in preflight.headers["Access-Control-Allow-Headers"]


async def test_the_endpoint_refuses_every_other_caller(encrypted: Encrypted, served: str) -> None:
    body = ask(await an_input(encrypted))
    good, port = f"{served}/{TOKEN}/decode", served.rpartition(":")[2]
    cases: dict[str, tuple[int, str, dict[str, str]]] = {
        "no token": (401, f"{served}/decode", {}),
        "wrong token": (401, f"{served}/{TOKEN[:-1]}x/decode", {}),
        "empty bearer": (401, f"{served}/decode", {"Authorization": "Bearer"}),
        "another page": (403, good, {"Origin": "https://evil.example"}),
        "a page of no origin": (403, good, {"Origin": "null"}),
        "rebound name": (421, good, {"Host": f"evil.example:{port}"}),
        "rebound name, the usual port": (421, good, {"Host": "evil.example"}),
        "encode": (404, f"{served}/{TOKEN}/encode", {}),
    }
    async with httpx.AsyncClient() as http:
        for name, (status, url, headers) in cases.items():
            answer = await http.post(url, headers=headers, content=body)
            assert answer.status_code == status, name
            assert "Access-Control-Allow-Origin" not in answer.headers, name
            assert "fake-east" not in answer.text, name
        foreign = await http.options(good, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in foreign.headers
        assert (await http.post(good, content=b"{")).status_code == 400
        assert (await http.post(good, content=b"\xff")).status_code == 400
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_the_endpoint_names_a_key_that_it_lacks(encrypted: Encrypted, served: str) -> None:
    encrypted.keys.write_text(new_key())
    foreign = EncryptionCodec.load(encrypted.keys).encrypt(Payload(data=b"x"))
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{served}/{TOKEN}/decode", content=ask(foreign))
    assert answer.status_code == 400
    assert str(key_name(foreign)) in answer.text


async def test_the_command_serves_with_a_token_of_its_own_that_only_the_user_reads(
    encrypted: Encrypted, tmp_path: Path
) -> None:
    payload = await an_input(encrypted)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    relight = encrypted.relight.where(
        RELIGHT_CODEC__PORT=port, RELIGHT_CODEC__UI_ORIGINS=json.dumps([UI])
    )
    prepare_home(relight.home)
    async with relight.running("codec", "serve") as process:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        token = relight.home / "codec_token"
        assert token.stat().st_mode & 0o777 == 0o600
        assert address == f"http://127.0.0.1:{port}/{token.read_text().strip()}"
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{address}/decode", content=ask(payload))
        assert answer.status_code == 200
        process.terminate()
        await process.wait()


async def test_the_command_is_refused_without_keys_or_without_a_ui(
    relight: InProcess, tmp_path: Path
) -> None:
    without = await relight("codec", "serve")
    assert (without.code, without.out) == (3, "")
    assert "RELIGHT_TEMPORAL__PAYLOAD_KEYS is not set" in without.said
    keys = tmp_path / "keys"
    keys.write_text((await relight("codec", "new-key")).out)
    with_keys = relight.where(RELIGHT_TEMPORAL__PAYLOAD_KEYS=str(keys))
    [name] = (await with_keys("codec", "keys", "--json")).json["keys"]
    assert len(name) == 16
    no_ui = await with_keys("codec", "serve")
    assert no_ui.code == 3
    assert "RELIGHT_CODEC__UI_ORIGINS is not set" in no_ui.said


async def test_the_command_makes_no_home(relight: InProcess, tmp_path: Path) -> None:
    keys, elsewhere = tmp_path / "keys", tmp_path / "elsewhere"
    keys.write_text(new_key())
    outside = relight.where(
        RELIGHT_HOME=str(elsewhere),
        RELIGHT_TEMPORAL__PAYLOAD_KEYS=str(keys),
        RELIGHT_CODEC__UI_ORIGINS=json.dumps([UI]),
    )
    refused = await outside("codec", "serve")
    assert refused.code == 3
    assert "RELIGHT_CODEC__TOKEN_FILE is not set, and there is no fleet here" in refused.said
    assert not elsewhere.exists()
