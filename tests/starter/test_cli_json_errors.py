"""With `--json` every error is one JSON object with one schema, the last line of standard error."""

import json

import pytest

from starter.cli.errors import ErrorAnswer
from tests.starter.test_cli_help import commands
from tests.starter.test_examples import command_of

WITHOUT_ANSWER = {
    ("down",),
    ("worker",),
    ("lab", "down"),
    ("codec", "serve"),
    ("codec", "new-key"),
    ("route", "ssh"),
    ("route", "exec"),
    ("route", "logs"),
}
"""Commands that return nothing, print a secret as it is stored, or what a host writes."""


def answer(ended) -> ErrorAnswer:
    """Return the error of a command, checked against the schema."""
    last = json.loads(ended.err.splitlines()[-1])
    assert list(last) == ["kind", "message", "remedy", "exit_code"]
    found = ErrorAnswer.model_validate(last)
    assert found.exit_code == ended.code
    assert found.message
    assert found.remedy
    assert ended.out == ""
    return found


@pytest.mark.parametrize(
    ("words", "code", "kind", "text"),
    [
        (("route", "show", "nowhere-1"), 2, "unknown-route", "nowhere-1"),
        (("route", "show", "No_Where"), 2, "bad-input", "is not a route id"),
        (("route", "show"), 2, "bad-input", "Missing argument"),
        (("route", "shw"), 2, "bad-input", "No such command"),
        (("nothing",), 2, "bad-input", "No such command"),
        (("fleet", "status", "--bad"), 2, "bad-input", "No such option"),
        (("route", "list", "--track", "nowhere"), 2, "unknown-track", "nowhere"),
        (("rollout", "why"), 2, "bad-input", "there has been no rollout"),
        (("route", "release", "east-1"), 3, "refused", "not in quarantine"),
        (("store", "prune", "--older-than", "1s"), 2, "bad-input", "keep"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_is_wrong_or_refused(relight, one_faulted, words, code, kind, text):
    ended = await relight(*words, "--json")
    assert ended.code == code, ended
    found = answer(ended)
    assert found.kind == kind
    assert text in found.message


async def test_the_remedy_is_that_of_the_table_of_faults(relight, store):
    found = answer(await relight("route", "show", "nowhere-1", "--json"))
    assert "relight route list" in found.remedy


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({"RELIGHT_STORE_URL": "mysql://nowhere"}, "bad-store-url"),
        ({"RELIGHT_STORE_RETENTION": "soon"}, "bad-input"),
        ({"RELIGHT_RECONCILE": "x"}, "bad-setting"),
    ],
    ids=["store", "setting", "no json"],
)
async def test_a_wrong_environment(relight, store, variables, kind):
    found = answer(await relight.where(**variables)("fleet", "status", "--json"))
    assert found.kind == kind


async def test_no_fleet(relight):
    assert answer(await relight("fleet", "status", "--json")).kind == "no-home"


async def test_what_failed_after_an_answer(installation, three_routes):
    stopped = await installation.relight("rollout", "start", "v0.0.76", "--wait", "--json")
    assert stopped.code == 1
    last = json.loads(stopped.err.splitlines()[-1])
    assert (last["kind"], last["exit_code"]) == ("operation-failed", 1)
    assert "relight rollout why v0.0.76" in last["remedy"]


async def test_the_remedy_of_a_route_names_the_route(installation, three_routes):
    route = three_routes[0]
    ended = await installation.relight("route", "swap", route, "v0.0.76", "--json")
    assert ended.code == 1
    remedy = json.loads(ended.err.splitlines()[-1])["remedy"]
    assert f"`relight route rollback {route}`" in remedy
    assert "ROUTE" not in ended.err


async def test_without_json_an_error_is_a_sentence(relight, store):
    ended = await relight("route", "show", "nowhere-1")
    assert ended.err == "error: there is no route nowhere-1\n"


def test_every_command_with_an_answer_has_json():
    def options(path):
        command, _ = command_of(list(path))
        return {name for each in command.params for name in each.opts}

    assert {path for path in commands() if "--json" not in options(path)} == WITHOUT_ANSWER
