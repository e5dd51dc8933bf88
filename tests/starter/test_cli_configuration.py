"""`relight configuration`: check, diff, apply, list and show; and releases that name one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.store.store import Store
from starter.cli.errors import ExitCode
from tests.starter.in_process import InProcess
from tests.starter.stores import serve_all, store_of
from tests.store.fleets import MANUAL, proving, run_on

DECLARATION = """\
check = ["lantern-box", "--check"]
on_change = "reload"

[values]
level = "calm"

[routes.east-2]
level = "loud"

[files."/etc/lantern-box/config.json"]
mode = "0640"
group = "nogroup"
"""


@pytest.fixture
def store(relight: InProcess) -> Iterator[Store]:
    with store_of(relight) as store:
        serve_all(store, "east-1", "east-2")
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "configuration"
    write(folder / "configuration.toml", DECLARATION)
    write(
        folder / "etc/lantern-box/config.json.j2",
        '{"route": {{ plan.route_id | tojson }}, "level": "{{ values.level }}"}\n',
    )
    write(folder / "etc/default/lantern-box.j2", "TOKEN={{ secrets.TOKEN }}\n")
    write(folder / "README.md", "for people\n")
    write(folder / ".git/config", "for git\n")
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def apply(relight: InProcess, folder: Path) -> str:
    done = await relight("configuration", "apply", str(folder), "--reason", "a test", "--json")
    assert done.code == 0, done.err
    return str(done.json["revision"])


async def test_a_folder_is_checked_and_recorded_once(relight, store, folder):
    checked = await relight("configuration", "check", str(folder), "--json")
    assert checked.json["files"] == ["/etc/default/lantern-box", "/etc/lantern-box/config.json"]
    assert checked.json["routes"] == 2
    assert store.configurations.list() == []
    first = await relight("configuration", "apply", str(folder), "--reason", "a test", "--json")
    assert first.json == {"revision": checked.json["revision"], "is_new": True}
    again = await relight("configuration", "apply", str(folder), "--json")
    assert again.json["is_new"] is False
    [record] = store.configurations.list()
    assert (record.reason, record.configuration.on_change) == ("a test", "reload")
    file = record.configuration.files[1]
    assert (file.mode, file.owner, file.group) == ("0640", "root", "nogroup")


async def test_the_list_says_how_many_routes_are_at_each(relight, store, folder):
    revision = await apply(relight, folder)
    tag = f"v0.0.73@{revision}"
    store.routes.record_proof(proving("east-1", tag), run_on("east-1").activity())
    [listed] = (await relight("configuration", "list", "--json")).json
    assert (listed["revision"], listed["files"], listed["routes"]) == (revision, 2, 1)
    assert revision in (await relight("configuration", "list")).out


async def test_a_configuration_is_shown_and_as_a_route_gets_it(relight, store, folder):
    revision = await apply(relight, folder)
    shown = (await relight("configuration", "show", revision)).out
    assert "value of route east-2: level = 'loud'" in shown
    assert "check: lantern-box --check" in shown
    files = (await relight("configuration", "show", revision, "--route", "east-2", "--json")).json
    assert files == {
        "/etc/default/lantern-box": "TOKEN=<secret TOKEN>\n",
        "/etc/lantern-box/config.json": '{"route": "east-2", "level": "loud"}\n',
    }


async def test_a_difference_is_shown_once_for_all_routes_that_have_it(relight, store, folder):
    revision = await apply(relight, folder)
    for route in ("east-1", "east-2"):
        proof = proving(route, f"v0.0.73@{revision}")
        store.routes.record_proof(proof, run_on(route).activity())
    same = await relight("configuration", "diff", str(folder))
    assert same.out == "no file of any route changes\n"
    write(folder / "etc/default/lantern-box.j2", "TOKEN={{ secrets.TOKEN }}\nDEBUG=1\n")
    write(folder / "configuration.toml", DECLARATION.replace("loud", "shrill"))
    found = (await relight("configuration", "diff", str(folder), "--json")).json
    assert [each["routes"] for each in found] == [["east-1"], ["east-2"]]
    assert [[file["path"] for file in each["files"]] for each in found] == [
        ["/etc/default/lantern-box"],
        ["/etc/default/lantern-box", "/etc/lantern-box/config.json"],
    ]
    assert "+DEBUG=1" in found[0]["files"][0]["diff"]
    shown = (await relight("configuration", "diff", str(folder), "--route", "east-2")).out
    assert '+{"route": "east-2", "level": "shrill"}' in shown
    assert "east-1" not in shown


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("etc/broken.j2", "{% if %}", "etc/broken.j2, line 1"),
        ("etc/undefined.j2", "{{ values.unknown }}", "route east-1: etc/undefined.j2"),
        ("etc/forgotten", "no template", "is neither a template"),
        ("etc/ssh/sshd_config.j2", "", "/etc/ssh is not the service's"),
        ("home/x.j2", "", "it is in none of /etc"),
        ("configuration.toml", "chek = []", "chek: Extra inputs are not permitted"),
        ("configuration.toml", "[values", "configuration.toml: "),
        ("configuration.toml", "[values]\nitems = 1", "items is a word of templates"),
        (
            "configuration.toml",
            '[files."/etc/none"]\nmode = "0600"',
            "there is no template etc/none",
        ),
        ("configuration.toml", '[files."/etc/none"]\nmode = "4755"', "mode: String should match"),
    ],
)
async def test_what_is_no_configuration_is_refused_with_its_file(
    relight, store, folder, file, text, words
):
    write(folder / file, text)
    for command in ("check", "apply", "diff"):
        done = await relight("configuration", command, str(folder))
        assert (done.code, done.out) == (ExitCode.BAD_INPUT, "")
        assert words in " ".join(done.err.split())
    assert store.configurations.list() == []


async def test_an_unknown_revision_or_route_is_refused(relight, store, folder):
    unknown = await relight("configuration", "show", "0" * 12)
    assert unknown.code == ExitCode.BAD_INPUT
    assert "there is no configuration 000000000000" in unknown.err
    malformed = await relight("configuration", "show", "v0.0.73")
    assert malformed.code == ExitCode.BAD_INPUT
    revision = await apply(relight, folder)
    nowhere = await relight("configuration", "show", revision, "--route", "west-1")
    assert (nowhere.code, "there is no route west-1" in nowhere.err) == (ExitCode.BAD_INPUT, True)


async def test_a_declared_release_keeps_its_configuration(relight, store, folder):
    revision = await apply(relight, folder)
    setting = "default_release_tag"
    store.fleet_settings.set(setting, "v0.0.73", MANUAL)
    named = await relight("settings", "set", setting, f"v0.0.73@{revision}", "--unchecked")
    assert named.code == 0, named.err
    assert (await relight("settings", "set", setting, "v0.0.74", "--unchecked")).code == 0
    assert store.fleet_settings.get(setting) == f"v0.0.74@{revision}"
    assert (await relight("track", "set", "beta", "--release", "v0.0.75", "--unchecked")).code == 0
    track = store.tracks.get("beta")
    assert track is not None
    assert track.release_override == f"v0.0.75@{revision}"
    unknown = await relight("settings", "set", setting, f"v0.0.74@{'0' * 12}", "--unchecked")
    assert (unknown.code, "there is no configuration" in unknown.err) == (ExitCode.BAD_INPUT, True)


async def test_a_plan_names_the_configuration_of_its_release(relight, store, folder):
    revision = await apply(relight, folder)
    words = ("rollout", "plan", "v0.0.74", "--unchecked", "--json")
    plain = await relight(*words)
    assert plain.json["release_tag"] == "v0.0.74"
    named = await relight(*words, "--configuration", revision)
    assert named.json["release_tag"] == f"v0.0.74@{revision}"
    store.fleet_settings.set("default_release_tag", f"v0.0.73@{revision}", MANUAL)
    assert (await relight(*words)).json["release_tag"] == f"v0.0.74@{revision}"
    without = await relight(*words, "--configuration", "none")
    assert without.json["release_tag"] == "v0.0.74"
