"""`make audit`: a finding fails, a silent service does not. And why S rules of ruff are off."""

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def vulnerability_service(vulnerable: str | None) -> Iterator[str]:
    """A service like OSV that knows a vulnerability of every version of one package, or none."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(405)

        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = {"id": "TEST-2026-1", "summary": "a hole", "affected": []}
            known = query["package"]["name"] == vulnerable
            body = json.dumps({"vulns": [found]} if known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def check(service: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "find-vulnerabilities"],
        env={**os.environ, "RELIGHT_VULNERABILITY_SERVICE": service},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_service_it_says_so_and_does_not_fail() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"http://127.0.0.1:{server.getsockname()[1]}/v1/query"
    ran = check(free)
    assert ran.returncode == 0
    assert f"no vulnerability service answers at {free}" in ran.stderr
    assert "NOTHING WAS CHECKED" in ran.stderr


@pytest.mark.slow
def test_a_finding_fails_and_names_the_package() -> None:
    with vulnerability_service("asyncssh") as service:
        ran = check(service)
    assert ran.returncode != 0
    assert re.search(r"^asyncssh +\S+ +TEST-2026-1", ran.stdout, re.MULTILINE), ran.stdout


@pytest.mark.slow
def test_without_a_finding_it_passes() -> None:
    with vulnerability_service(None) as service:
        ran = check(service)
    assert ran.returncode == 0, ran.stderr
    assert "No known vulnerabilities found" in ran.stderr


def test_every_exception_from_ruffs_security_rules_has_its_reason() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    exceptions = [
        (name, line)
        for name in listed
        for line in (ROOT / name).read_text().splitlines()
        if re.search(r"# noqa: (\w+, )*S\d", line)
    ]
    assert exceptions
    assert [each for each in exceptions if not re.search(r"# noqa: [\w, ]+ - \w", each[1])] == []
