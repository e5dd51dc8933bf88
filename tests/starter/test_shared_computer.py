"""The embedded Temporal on a computer of several people, and what a web page may do to it."""

import asyncio
import pwd
import subprocess
from pathlib import Path

import httpx
import pytest

from relight.engine.errors import SetupError
from starter.local.accounts import login_accounts, require_understood
from starter.local.temporal import EmbeddedTemporal, embedded_temporal
from tests.starter.in_process import InProcess


def account(name: str, uid: int, shell: str = "/bin/bash") -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", f"/home/{name}", shell))


def test_people_are_counted_and_services_are_not() -> None:
    assert login_accounts(
        [
            account("root", 0),
            account("postgres", 110),
            account("zoe", 1001, ""),
            account("ana", 1000),
            account("ci", 1002, "/usr/sbin/nologin"),
            account("backup", 1003, "/bin/false"),
            account("nobody", 65534),
        ]
    ) == ("ana", "zoe")


def test_one_person_is_asked_nothing(tmp_path: Path) -> None:
    require_understood(tmp_path, (), understood=False)
    require_understood(tmp_path, ("ana",), understood=False)
    assert not list(tmp_path.iterdir())


def test_several_are_refused_until_it_is_understood_and_a_further_one_asks_again(
    tmp_path: Path,
) -> None:
    with pytest.raises(SetupError, match=r"ana, zoe.*--i-understand"):
        require_understood(tmp_path, ("ana", "zoe"), understood=False)
    require_understood(tmp_path, ("ana", "zoe"), understood=True)
    require_understood(tmp_path, ("ana", "zoe"), understood=False)
    with pytest.raises(SetupError, match="eve"):
        require_understood(tmp_path, ("ana", "eve", "zoe"), understood=False)


async def test_the_command_is_refused_on_a_shared_computer(
    relight: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pwd.getpwall", lambda: [account("ana", 1000), account("zoe", 1001)])
    refused = await relight("up", "--no-lab", "--no-worker", "--detach")
    assert refused.code == 3
    assert "--i-understand" in refused.said
    assert not relight.home.exists() or not list(relight.home.iterdir())


async def test_its_http_api_answers_to_no_name(temporal: EmbeddedTemporal) -> None:
    # It does not tell its port, so each port that it listens on is tried.
    listening = await asyncio.create_subprocess_exec(
        *("ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"),
        stdout=subprocess.PIPE,
    )
    out, _ = await listening.communicate()
    own = [line for line in out.decode().splitlines() if f"pid={temporal.pid}," in line]
    addresses = [line.split()[3] for line in own]
    body = '{"workflowType": {"name": "T"}, "taskQueue": {"name": "q"}}'
    refused = set()
    async with httpx.AsyncClient() as http:
        for address in addresses:
            url = f"http://{address}/api/v1/namespaces/default/workflows/forged"
            for host in (address, address.replace("127.0.0.1", "localhost"), "evil.example"):
                headers = {"Host": host, "Content-Type": "text/plain", "Origin": "http://evil"}
                try:
                    answer = await http.post(url, content=body, headers=headers)
                except httpx.TransportError:  # It speaks no HTTP/1.1.
                    continue
                assert answer.status_code >= 400, (address, host)
                if "Host not allowed" in answer.text:
                    refused.add(host)
    assert len(refused) == 3


async def test_without_a_ui_nothing_listens_for_one(tmp_path: Path) -> None:
    async with embedded_temporal(tmp_path, durable=False, ui=False) as server:
        assert server.ui_url == ""
        assert "Temporal UI:" not in server.child.output()
