"""The service's configuration: its revision, its values, and its limits."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from relight.domain.configuration import MAX_BYTES, Configuration, ConfigurationFile
from relight.domain.names import (
    PackageTag,
    ReleaseTag,
    package_tag,
    revision_of,
    rollout_tag,
    rollout_workflow_id,
    with_revision,
)

FILE = ConfigurationFile(path="/etc/lantern-box/config.json", template="{}")


def configuration(**fields: Any) -> Configuration:
    return Configuration(**{"files": (FILE,), **fields})


def test_the_revision_is_that_of_all_content_in_any_order():
    first = configuration(values={"a": 1, "b": "x"}, tracks={"beta": {"a": 2}})
    again = configuration(tracks={"beta": {"a": 2}}, values={"b": "x", "a": 1})
    assert first.revision == again.revision
    assert len(first.revision) == 12
    others = [
        configuration(),
        configuration(values={"a": 1}),
        configuration(values={"a": True}),
        configuration(values={"a": "1"}),
        configuration(values={"a": 1.5}),
        configuration(check=("true",)),
        configuration(on_change="reload"),
        configuration(parts={"parts/a": ""}),
        configuration(files=(FILE.model_copy(update={"mode": "0640"}),)),
        configuration(files=(FILE.model_copy(update={"template": "{ }"}),)),
    ]
    assert len({each.revision for each in (first, *others)}) == len(others) + 1


def test_a_number_is_the_same_however_a_database_writes_it():
    written = {"1e16": "10000000000000000", "-0.0": "0", "2.0": "2"}
    for number, again in written.items():
        text = configuration(values={"a": 7}).model_dump_json()
        made = [
            Configuration.model_validate_json(text.replace('"a":7', f'"a":{each}'))
            for each in (number, again)
        ]
        assert made[0].revision == made[1].revision


def test_the_six_characters_of_an_escaped_nul_are_a_text():
    file = FILE.model_copy(update={"template": "\\u0000"})
    assert configuration(files=(file,)).revision
    with pytest.raises(ValidationError, match="NUL"):
        configuration(values={"a": "\0"})


def test_it_is_the_same_after_json():
    made = configuration(values={"a": 1, "b": 1.5, "c": "é", "d": True}, routes={"r-1": {"a": 2}})
    again = Configuration.model_validate_json(made.model_dump_json())
    assert (again, again.revision) == (made, made.revision)


def test_the_values_of_a_route_count_before_its_tracks_and_those_before_the_fleets():
    made = configuration(
        values={"a": 1, "b": 1, "c": 1}, tracks={"beta": {"b": 2, "c": 2}}, routes={"r-1": {"c": 3}}
    )
    assert made.values_for("beta", "r-1") == {"a": 1, "b": 2, "c": 3}
    assert made.values_for("beta", "r-2") == {"a": 1, "b": 2, "c": 2}
    assert made.values_for("stable", "r-1") == {"a": 1, "b": 1, "c": 3}
    assert made.values_for(None, None) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"files": ()},
        {"files": (FILE, FILE)},
        {"values": {"items": 1}},
        {"values": {"a-b": 1}},
        {"values": {"_a": 1}},
        {"values": {"a": None}},
        {"values": {"a": ["x"]}},
        {"values": {"a": float("nan")}},
        {"values": {"a": "x" * 4097}},
        {"values": {f"a{number}": 1 for number in range(501)}},
        {"tracks": {"Not A Track": {}}},
        {"on_change": "stop"},
        {"parts": {"parts/a": "x" * MAX_BYTES}},
        {"parts": {"parts/a": "a\0b"}},
        {"parts": {"parts/a": "\ud83d"}},
    ],
)
def test_what_is_no_configuration_is_refused(fields):
    with pytest.raises(ValidationError):
        configuration(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "etc/a"},
        {"path": "/etc/../root/a"},
        {"path": "/etc/./a"},
        {"path": "/etc//a"},
        {"path": "/etc/a b"},
        {"path": "/etc/a;id"},
        {"path": "/etc"},
        {"path": "/root/.ssh/authorized_keys"},
        {"path": "/etc/ssh/sshd_config"},
        {"path": "/etc/sudoers.d/x"},
        {"path": "/etc/passwd"},
        {"path": "/var/lib/relight/installed"},
        {"mode": "4755"},
        {"mode": "0044"},
        {"mode": "755"},
        {"owner": "a:b"},
        {"group": "-x"},
    ],
)
def test_what_is_no_file_of_a_service_is_refused(fields):
    with pytest.raises(ValidationError):
        ConfigurationFile(**{"path": "/etc/a", "template": "", **fields})


def test_a_release_is_named_by_its_tag_and_the_revision_of_its_configuration():
    tag = with_revision("v0.0.74", "3f2a91bc04de")
    assert tag == "v0.0.74@3f2a91bc04de"
    assert TypeAdapter(ReleaseTag).validate_python(tag) == tag
    assert (package_tag(tag), revision_of(tag)) == ("v0.0.74", "3f2a91bc04de")
    assert (package_tag("5:1-2"), revision_of("5:1-2")) == ("5:1-2", None)
    assert with_revision(tag, None) == "v0.0.74"
    assert with_revision(tag, "0" * 12) == "v0.0.74@000000000000"
    assert rollout_tag(rollout_workflow_id(tag, "track:beta", undo=True)) == tag
    for wrong in ("v1@", "v1@3f2a", "v1@3F2A91BC04DE", f"{tag}@{'0' * 12}", "@3f2a91bc04de"):
        with pytest.raises(ValidationError):
            TypeAdapter(ReleaseTag).validate_python(wrong)
    with pytest.raises(ValidationError):
        TypeAdapter(PackageTag).validate_python(tag)
