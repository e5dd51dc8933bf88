"""A GitHub with the issues and the runs of one repository, over real HTTP, with its traps."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "getlantern/lantern-box"
TOKEN = "ghs_job"
_PATH = f"/repos/{REPOSITORY}"


class Trap(StrEnum):
    """What happens to one request.

    `REPLY_LOST` is done first; the others are not.
    """

    UNANSWERED = "the connection is closed"
    REPLY_LOST = "it is done, and the connection is closed"
    SERVER_ERROR = "502"
    SECONDARY_LIMIT = "403 with Retry-After"
    PRIMARY_LIMIT = "403 with no request left"
    TOO_MANY = "429"
    NO_PERMISSION = "403 of a token without the right"
    LOGIN_PAGE = "200 with HTML"


class Answer(NamedTuple):
    status: int
    content: Any
    headers: Mapping[str, str] = MappingProxyType({})


_REFUSALS = {
    Trap.SERVER_ERROR: Answer(502, "<html>Unicorn!</html>"),
    Trap.SECONDARY_LIMIT: Answer(403, {"message": "secondary rate limit"}, {"Retry-After": "0"}),
    Trap.PRIMARY_LIMIT: Answer(
        403, {"message": "API rate limit exceeded"}, {"X-RateLimit-Remaining": "0"}
    ),
    Trap.TOO_MANY: Answer(429, {"message": "Too Many Requests"}, {"Retry-After": "0"}),
    Trap.NO_PERMISSION: Answer(403, {"message": "Resource not accessible by integration"}),
    Trap.LOGIN_PAGE: Answer(200, "<html>Please log in</html>"),
}


@dataclass
class FakeActions:
    """The issues, the pull requests and the runs of a repository.

    Attributes:
        issues: in the order of their numbers, as GitHub shows them, without their comments.
        comments: by the number of the issue.
        traps: by method and what the path ends with, one for each of the next such requests.
        requests: the method and the path of each, with the query.
        drops_labels: whether labels of a new issue are left out, as of a token without the right.
        has_issues: whether the repository has issues at all.
        gone: the numbers of issues that a person has deleted after they were listed.
        runs: of the workflow `image.yml`, oldest first: branch, conclusion and commit.
    """

    url: str = ""
    issues: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[int, list[str]] = field(default_factory=dict)
    traps: dict[tuple[str, str], list[Trap]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    drops_labels: bool = False
    has_issues: bool = True
    gone: set[int] = field(default_factory=set)
    runs: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def open(self) -> list[int]:
        return [each["number"] for each in self.issues if each["state"] == "open"]

    def add(
        self, title: str, body: str | None, *labels: str, pull_request: bool = False
    ) -> dict[str, Any]:
        number = len(self.issues) + 1
        made: dict[str, Any] = {
            "number": number,
            "title": title,
            "body": body,
            "state": "open",
            "state_reason": None,
            "labels": [{"id": 1, "name": label, "color": "ededed"} for label in labels],
            "user": {"login": "github-actions[bot]"},
        }
        if pull_request:
            made["pull_request"] = {"url": f"{self.url}{_PATH}/pulls/{number}"}
        self.issues.append(made)
        return made

    def respond(
        self, method: str, target: str, token: str | None, body: dict[str, Any]
    ) -> Answer | None:
        """Return the answer; None if the connection is closed without one."""
        self.requests.append((method, target))
        trap = self._trap_for(method, urlsplit(target).path)
        if trap is Trap.UNANSWERED:
            return None
        if trap in _REFUSALS:
            return _REFUSALS[trap]
        if token != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Bad credentials"})
        answer = self._answer(method, target, body)
        return None if trap is Trap.REPLY_LOST else answer

    def _trap_for(self, method: str, path: str) -> Trap | None:
        for (trapped, end), traps in self.traps.items():
            if trapped == method and path.endswith(end) and traps:
                return traps.pop(0)
        return None

    def _answer(self, method: str, target: str, body: dict[str, Any]) -> Answer:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path == f"{_PATH}/actions/workflows/image.yml/runs":
            wanted = (query["branch"][0], query["status"][0])
            runs = [{"head_sha": sha} for *run, sha in reversed(self.runs) if tuple(run) == wanted]
            return Answer(200, {"total_count": len(runs), "workflow_runs": runs[:1]})
        if not path.startswith(f"{_PATH}/issues"):
            return Answer(404, {"message": "Not Found"})
        if not self.has_issues:
            return Answer(410, {"message": "Issues has been disabled in this repository."})
        below = path.removeprefix(f"{_PATH}/issues").strip("/")
        if below:
            number, _, part = below.partition("/")
            return self._of_issue(method, int(number), part, query, body)
        if method == "GET":
            return self._page(self._listed(query), query)
        labels = [] if self.drops_labels else body["labels"]
        return Answer(201, self.add(body["title"], body["body"], *labels))

    def _of_issue(
        self, method: str, number: int, part: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> Answer:
        if number in self.gone:
            return Answer(410, {"message": "This issue was deleted"})
        issue = self.issues[number - 1]
        written = self.comments.setdefault(number, [])
        match method, part:
            case "PATCH", "":
                issue.update(body)
                return Answer(200, issue)
            case "POST", "labels":
                issue["labels"] += [{"name": name} for name in body["labels"]]
                return Answer(200, issue["labels"])
            case "POST", "comments":
                written.append(body["body"])
                return Answer(201, {"id": len(written), "body": body["body"]})
            case "GET", "comments":
                return self._page([{"body": text} for text in written], query)
        return Answer(404, {"message": "Not Found"})

    def _listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The newest first. All given labels must be there."""
        wanted = set(query.get("labels", [""])[0].split(",")) - {""}
        [state] = query.get("state", ["open"])
        return [
            issue
            for issue in reversed(self.issues)
            if issue["state"] == state and wanted <= {label["name"] for label in issue["labels"]}
        ]

    @staticmethod
    def _page(items: list[dict[str, Any]], query: dict[str, list[str]]) -> Answer:
        size = min(int(query.get("per_page", ["30"])[0]), 100)
        page = int(query.get("page", ["1"])[0])
        return Answer(200, items[(page - 1) * size : page * size])


@contextmanager
def fake_actions() -> Iterator[FakeActions]:
    github = FakeActions()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(size)) if size else {}
            token = self.headers.get("Authorization")
            answer = github.respond(self.command, self.path, token, body)
            if answer is None:
                self.close_connection = True
                return
            text = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            self._handle()

        def do_POST(self) -> None:
            self._handle()

        def do_PATCH(self) -> None:
            self._handle()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        github.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield github
        finally:
            server.shutdown()
            thread.join()
