"""What the Temporal UI shows of workflows: descriptions of updates and signals, and no `None`."""

import json
from collections.abc import Iterator
from inspect import signature
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter
from temporalio.workflow import _Definition

from relight.domain.fault.table import fault
from relight.domain.rollout.rollout import RolloutPhase, RolloutStatus, RouteOutcome, RouteProgress
from worker import WORKFLOWS
from workflows.reporting import _fault_details
from workflows.rollout.pages import rollout_page


def handlers() -> Iterator[Any]:
    for kind in WORKFLOWS:
        definition = _Definition.must_from_class(kind)
        for found in (definition.updates, definition.signals, definition.queries):
            for name, handler in found.items():
                yield pytest.param(handler, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize("handler", list(handlers()))
def test_every_handler_has_a_description_and_its_input_is_none_or_a_json_that_it_shows(handler):
    assert handler.description
    inputs = [name for name in signature(handler.fn).parameters if name != "self"]
    _, shown, example = handler.description.partition("Input: ")
    if not inputs:
        assert example in ("", "none.")
        return
    assert shown
    [name] = inputs
    TypeAdapter(get_type_hints(handler.fn)[name]).validate_python(json.loads(example))


def test_the_page_of_a_fault_names_only_what_it_has():
    assert "None" not in _fault_details(fault("controller-bug", "it broke"))
    on_host = fault("unit-failed", "it failed").model_copy(update={"machine_key": "eu-1-g1"})
    page = _fault_details(on_host)
    assert "machine eu-1-g1" in page
    assert "None" not in page


def test_the_page_of_a_rollout_shows_a_dash_where_a_fault_has_no_host():
    failed = RouteOutcome(
        route_id="eu-1",
        wave=1,
        progress=RouteProgress.FAILED,
        fault=fault("controller-bug", "it broke"),
    )
    page = rollout_page(
        RolloutStatus(
            release_tag="v0.0.74",
            scope="fleet",
            phase=RolloutPhase.STOPPED,
            wave=1,
            waves=1,
            routes=(failed,),
            counts={RouteProgress.FAILED: 1},
        )
    )
    assert "None" not in page
    assert "nothing" not in page
    assert "| eu-1 (failed) | - | - | controller-bug" in page
