"""A GitHub with the releases of one repository, over real HTTP."""

import gzip
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.debs import deb
from tests.support.trickle import trickle

REPOSITORY = "getlantern/lantern-box"
DOWNLOADS = f"/{REPOSITORY}/releases/download"
_RELEASES = f"/repos/{REPOSITORY}/releases"


class Request(NamedTuple):
    path: str
    token: str | None


class Fault(NamedTuple):
    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b'{"message": "no"}'


@dataclass
class FakeGitHub:
    """Releases in GitHub's JSON, newest first.

    Attributes:
        files: content by path, for paths under `DOWNLOADS`.
        faults: by path, an answer instead of the normal one.
        requests: the path and the token of each request.
        trickled: the ends of paths whose answers come byte by byte.
        not_modified: how many requests were answered with 304 because their ETag matched.
        ranges: whether a part of a file is sent where it is asked for.
        made: how many files were attached.
        private_token: the token that each request of the API needs. Files are then downloaded from
            there: it redirects to a storage of another host name.
    """

    url: str
    releases: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    trickled: tuple[str, ...] = ()
    not_modified: int = 0
    ranges: bool = True
    made: int = 0
    private_token: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)

    def release(
        self, tag: str, *, is_unpublished: bool = False, prerelease: bool = False
    ) -> dict[str, Any]:
        made: dict[str, Any] = {
            "id": len(self.releases) + 1,
            "tag_name": tag,
            "name": tag,
            "draft": is_unpublished,
            "prerelease": prerelease,
            "assets": [],
        }
        self.releases.insert(0, made)
        return made

    def attach(self, release: dict[str, Any], name: str, content: bytes) -> dict[str, Any]:
        """Attach a file, with its digest as GitHub gives it."""
        path = f"{DOWNLOADS}/{release['tag_name']}/{name}"
        self.files[path] = content
        self.made += 1
        asset = {
            "id": self.made,
            "url": f"{self.url}{_RELEASES}/assets/{self.made}",
            "name": name,
            "label": None,
            "state": "uploaded",
            "size": len(content),
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "browser_download_url": f"{self.url}{path}",
        }
        release["assets"].append(asset)
        return asset

    def publish(self, tag: str, *architectures: str) -> dict[str, Any]:
        """Publish a release with a package for each architecture."""
        release = self.release(tag)
        for architecture in architectures:
            name = f"lantern-box_{tag.removeprefix('v')}_{architecture}.deb"
            version = tag.removeprefix("v").replace("-", "~")
            self.attach(release, name, deb("lantern-box", version, architecture))
        return release

    def api_requests(self) -> list["Request"]:
        return [each for each in self.requests if each.path.startswith("/repos/")]

    def count(self, beginning: str) -> int:
        return sum(request.path.startswith(beginning) for request in self.requests)

    def answer(self, target: str) -> Fault:
        path = unquote(urlsplit(target).path)
        if (fault := self.faults.get(path)) is not None:
            return fault
        if path in self.files and not self.private_token:
            return Fault(200, {}, self.files[path])
        if path.startswith("/storage/"):
            return Fault(200, {}, self.files[path.removeprefix("/storage")])
        if path.startswith(f"{_RELEASES}/assets/"):
            [asset] = [
                asset
                for release in self.releases
                for asset in release["assets"]
                if asset["url"].endswith(path)
            ]
            stored = asset["browser_download_url"].removeprefix(self.url)
            storage = self.url.replace("127.0.0.1", "localhost")
            return Fault(302, {"Location": f"{storage}/storage{stored}"})
        if path == _RELEASES:
            query = parse_qs(urlsplit(target).query)
            size, page = int(query["per_page"][0]), int(query.get("page", ["1"])[0])
            return _json(self.releases[(page - 1) * size : page * size])
        for release in self.releases:
            # GitHub does not return an unpublished release by its tag.
            if path == f"{_RELEASES}/tags/{release['tag_name']}" and not release["draft"]:
                return _json(release)
        return Fault(404, {}, b'{"message": "Not Found", "status": "404"}')


def tag_path(tag: str) -> str:
    return f"{_RELEASES}/tags/{tag}"


def list_path() -> str:
    return _RELEASES


def _json(content: object) -> Fault:
    return Fault(200, {"Content-Type": "application/json"}, json.dumps(content).encode())


@contextmanager
def fake_github(host: str = "127.0.0.1") -> Iterator[FakeGitHub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path)
            github.requests.append(Request(path, self.headers.get("Authorization")))
            status, headers, body = github.answer(self.path)
            is_api = path.startswith("/repos/")
            if is_api and github.private_token not in ("", self.headers.get("Authorization")):
                status, headers, body = Fault(404)
            etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
            if status == 200 and self.headers.get("If-None-Match") == etag:
                github.not_modified += 1
                status, body = 304, b""
            elif status == 200 and path.startswith("/repos/"):
                body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
            asked = re.fullmatch("bytes=0-([0-9]+)", self.headers.get("Range", ""))
            if status == 200 and asked and github.ranges:
                size, body = len(body), body[: int(asked[1]) + 1]
                headers = {**headers, "Content-Range": f"bytes 0-{len(body) - 1}/{size}"}
                status = 206
            headers = {"ETag": etag, "Content-Length": str(len(body)), **headers}
            # A client may close the connection before the end.
            with suppress(ConnectionError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if urlsplit(path).path.endswith(github.trickled):
                    trickle(body, self.wfile, github.stopped)
                else:
                    self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        github = FakeGitHub(f"http://{host}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield github
        finally:
            github.stopped.set()
            server.shutdown()
            thread.join()
