"""`relight init PACKAGE|FILE.deb`: what it writes, prints and refuses."""

from pathlib import Path

import pytest

from relight.service_file import read_service_file
from tests.inspection.conftest import made, unit
from tests.starter.in_process import InProcess
from tests.starter.stores import refused

BOX = {"box.service": unit("Type=notify", "ExecStart=/usr/bin/box --port 80")}


@pytest.fixture
def relight(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def deb(tmp_path: Path) -> str:
    return str(made(tmp_path, BOX))


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def test_a_service_file_is_written_for_a_package(relight: InProcess, deb: str) -> None:
    ended = await relight("init", deb)
    assert ended.code == 0, ended
    file = relight.home / "service.toml"
    assert read_service_file(relight.home, None) == {
        "package": "box",
        "unit": "box.service",
        "on_change": "restart",
        "probe": "tcp",
        "probe_port": 80,
    }
    assert (mode(relight.home), mode(file)) == (0o700, 0o600)
    assert ended.err.startswith("context ")
    for line in ("box 1.0 (all)", "notify", f"written to {file}", deb):
        assert line in ended.out
    assert "to know: It listens on port 80, as `--port 80` says." in ended.out
    # Only the service file: a fleet is made by `relight init` alone.
    assert [each.name for each in relight.home.iterdir()] == ["service.toml"]


async def test_its_answer_for_programs_has_all_that_was_found(relight: InProcess, deb: str) -> None:
    ended = await relight("init", deb, "--json")
    assert ended.code == 0, ended
    answer = ended.json
    assert answer["file"] == str(relight.home / "service.toml")
    assert (answer["origin"], answer["model"]) == (deb, "notify")
    assert (answer["unit"], answer["probe"], answer["probe_port"]) == ("box.service", "tcp", 80)
    assert answer["unknown"] == []


async def test_what_could_not_be_told_is_printed(relight: InProcess, tmp_path: Path) -> None:
    ended = await relight("init", str(made(tmp_path, {"box@.service": unit()})))
    assert ended.code == 0
    assert "could not be told: Which instances run" in ended.out
    assert "could not be told: A port to probe" in ended.out


async def test_an_existing_one_is_written_over_only_by_force(relight: InProcess, deb: str) -> None:
    relight.home.mkdir()
    file = relight.home / "service.toml"
    file.write_text('unit = "mine.service"')
    refused(await relight("init", deb), 3, f"{file} exists", "--force", "Nothing was changed")
    assert file.read_text() == 'unit = "mine.service"'
    shown = await relight("init", deb, "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert file.read_text() == 'unit = "mine.service"'
    assert (await relight("init", deb, "--force")).code == 0
    assert file.read_text() == shown.out


async def test_a_dry_run_makes_nothing(relight: InProcess, deb: str) -> None:
    ended = await relight("init", deb, "--dry-run")
    assert ended.code == 0
    assert 'unit = "box.service"' in ended.out
    answer = await relight("init", deb, "--dry-run", "--json")
    assert (answer.code, answer.json["file"]) == (0, None)
    assert not relight.home.exists()


async def test_another_file_can_be_named_and_need_not_exist(
    relight: InProcess, deb: str, tmp_path: Path
) -> None:
    file = tmp_path / "other" / "box.toml"
    named = relight.where(RELIGHT_SERVICE_FILE=str(file))
    ended = await named("init", deb, "--json")
    assert ended.code == 0, ended
    assert ended.json["file"] == str(file)
    assert read_service_file(relight.home, file)["package"] == "box"
    assert not relight.home.exists()


async def test_a_broken_one_is_written_over_too(relight: InProcess, deb: str) -> None:
    relight.home.mkdir()
    (relight.home / "service.toml").write_text("unti = 1")
    assert (await relight("init", deb, "--force")).code == 0
    assert read_service_file(relight.home, None)["unit"] == "box.service"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("init", "./absent.deb"), "absent.deb: it cannot be read: no such file or directory"),
        (("init", "Box"), "'Box' is neither the name of a package nor a file"),
        (("init", "-x"), "No such option"),
        (("init", "box", "--adopt-temporal"), "--adopt-temporal is of a fleet"),
        (("init", "--force"), "--force and --dry-run are of a package"),
        (("init", "--dry-run"), "--force and --dry-run are of a package"),
    ],
)
async def test_what_is_no_package_is_refused(
    relight: InProcess, words: tuple[str, ...], why: str
) -> None:
    ended = await relight(*words)
    assert ended.code == 2
    assert why in ended.said
    assert not relight.home.exists()


async def test_a_package_without_a_service_is_refused(relight: InProcess, tmp_path: Path) -> None:
    file = made(tmp_path, {}, "data")
    refused(await relight("init", str(file)), 2, "data has no service")
    file.write_bytes(b"no package")
    refused(await relight("init", str(file)), 2, "data_1.0_all.deb: it is not a Debian package")
    assert not relight.home.exists()


async def test_a_name_is_looked_for_in_the_source_of_releases_first(
    relight: InProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    made(folder, {}, "box-light", depends="box-common")
    made(folder, BOX, "box-common")
    found = relight.where(RELIGHT_DIRECTORY__PATH=str(folder))
    ended = await found("init", "box-light", "--json")
    assert ended.code == 0, ended
    assert (ended.json["unit"], ended.json["origin"]) == ("box.service", str(folder))
    absent = relight.where(RELIGHT_DIRECTORY__PATH=str(tmp_path / "absent"))
    refused(await absent("init", "box", "--force"), 3, "the folder of packages cannot be read")


async def test_a_name_that_it_does_not_have_is_asked_of_apt(
    relight: InProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    empty = tmp_path / "apt"
    for each in ("lists/partial", "parts", "cache/archives/partial"):
        (empty / each).mkdir(parents=True)
    (empty / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{empty}/parts";\n'
        f'Dir::State::lists "{empty}/lists";\nDir::Cache "{empty}/cache";\n'
    )
    asked = relight.where(RELIGHT_DIRECTORY__PATH=str(folder), APT_CONFIG=str(empty / "apt.conf"))
    ended = await asked("init", "box-light")
    assert ended.code == 2
    assert f"{folder} has no package box-light: asking the apt of this computer" in ended.err
    assert f"there is no package box-light of {folder}, nor of the apt of this" in ended.err
    assert not relight.home.exists()
