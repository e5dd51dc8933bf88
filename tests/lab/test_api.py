"""The API explains what it refuses, and never shows user-data."""

from datetime import UTC, datetime

import pytest

from tests.lab.guests import Guest
from tests.support.lab import Lab

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
@pytest.mark.parametrize("path", ["/v1/regions", "/v1/machines", "/v1/machines/00000000"])
def test_a_request_without_the_token_is_refused(
    lab: Lab, path: str, headers: dict[str, str]
) -> None:
    with lab.client() as client:
        del client.headers["Authorization"]
        answer = client.get(path, headers=headers)
    assert answer.status_code == 401
    assert lab.token not in answer.text


def test_only_the_owner_can_read_the_token(lab: Lab) -> None:
    assert (lab.state / "token").stat().st_mode & 0o777 == 0o600


def test_there_are_two_regions_with_this_computers_architecture(lab: Lab) -> None:
    with lab.client() as client:
        regions = client.get("/v1/regions").json()
    assert [region["name"] for region in regions] == ["lab-east", "lab-west"]
    assert {region["architecture"] for region in regions} <= {"amd64", "arm64"}


@pytest.mark.parametrize("what", ["", "/console"])
def test_an_unknown_machine_is_not_found(lab: Lab, what: str) -> None:
    with lab.client() as client:
        answer = client.get(f"/v1/machines/00000000{what}")
        deleted = client.delete("/v1/machines/00000000")
        started = client.post("/v1/machines/00000000/start")
    assert answer.status_code == deleted.status_code == started.status_code == 404
    assert "00000000" in answer.json()["detail"]


def test_a_label_in_use_is_refused_until_its_machine_is_gone(lab: Lab) -> None:
    body = {"label": Guest().label, "region": "lab-east"}
    with lab.client() as client:
        made = client.post("/v1/machines", json=body)
        again = client.post("/v1/machines", json=body)
        assert (made.status_code, again.status_code) == (202, 409)
        assert body["label"] in again.json()["detail"]
        assert made.json()["status"] == "provisioning"
        assert [machine["id"] for machine in lab.machines(body["label"])] == [made.json()["id"]]

        deleting = client.delete(f"/v1/machines/{made.json()['id']}")
        assert (deleting.status_code, deleting.json()["status"]) == (202, "deleting")
        lab.delete(lab.create(Guest().label)["id"])
        assert lab.machines(body["label"]) == []
        third = client.post("/v1/machines", json=body)
    assert third.status_code == 202
    lab.delete(third.json()["id"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"region": "lab-north"}, "there is no region lab-north; there are lab-east, lab-west"),
        ({"image": "windows-95"}, "there is no image windows-95"),
        ({"label": "Not a label"}, "label"),
        ({"label": "-"}, "label"),
        ({"label": "a" * 64}, "label"),
        ({"size": "huge"}, "size"),
        ({"tags": {"Not a name": "squirrel"}}, "tags"),
        ({"tags": {"owner": "squirrel squirrel"}}, "tags"),
        ({"tags": {"owner": 7}}, "tags"),
        ({"tags": {f"tag-{number}": "squirrel" for number in range(17)}}, "tags"),
        ({"user_data": "squirrel" * 10_000}, "user_data"),
        ({"user_data": ["squirrel"]}, "user_data"),
    ],
)
def test_an_invalid_request_is_refused_with_the_reason(
    lab: Lab, change: dict[str, object], text: str
) -> None:
    body = {"label": Guest().label, "region": "lab-east", "user_data": "squirrel", **change}
    with lab.client() as client:
        answer = client.post("/v1/machines", json=body)
    assert answer.status_code == 422
    assert text in answer.text
    assert "squirrel" not in answer.text


def test_a_request_can_name_the_image(lab: Lab) -> None:
    body = {"label": Guest().label, "region": "lab-west", "image": "debian-12"}
    with lab.client() as client:
        made = client.post("/v1/machines", json=body)
    assert made.status_code in {202, 422}  # 422 on a computer with another Debian version
    if made.status_code == 202:
        lab.delete(made.json()["id"])


@pytest.mark.parametrize("tags", [None, {}, {"owner": "us", "generation": "3"}])
def test_tags_are_kept_unchanged(lab: Lab, tags: dict[str, str] | None) -> None:
    label = Guest().label
    body = {"label": label, "region": "lab-east", **({} if tags is None else {"tags": tags})}
    before = datetime.now(UTC)
    with lab.client() as client:
        made = client.post("/v1/machines", json=body).raise_for_status().json()
        shown = client.get(f"/v1/machines/{made['id']}").json()
    (listed,) = lab.machines(label)
    for machine in (made, shown, listed):
        assert machine["tags"] == (tags or {})
        assert before <= datetime.fromisoformat(machine["created_at"]) <= datetime.now(UTC)
    lab.delete(made["id"])


def test_the_last_lines_of_a_long_console_are_shown(lab: Lab) -> None:
    machine_id = lab.create(Guest().label)["id"]
    console = lab.state / "machines" / machine_id / "console.log"
    with console.open("a") as file:
        file.writelines(f"line {number} ä\n" for number in range(10_000))
    with lab.client() as client:
        shown = client.get(f"/v1/machines/{machine_id}/console").text
    lines = [line for line in shown.splitlines() if line.startswith("line ")]
    last = int(lines[-1].split()[1])
    assert last == 9_999
    assert 32 * 1024 < len(shown.encode()) <= 64 * 1024
    assert lines[0] == f"line {last - len(lines) + 1} ä"
    lab.delete(machine_id)
