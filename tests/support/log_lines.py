"""The log as a worker writes it."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import structlog
from temporalio import activity, workflow

from relight.engine.logs import configure_logs

Lines = Callable[[], list[dict[str, Any]]]


@contextmanager
def logging_as_a_worker() -> Iterator[Lines]:
    """Log in JSON until the block ends; yield what returns the lines so far."""
    root, of_activities = logging.getLogger(), logging.getLogger("temporalio.activity")
    handlers, level, filters = root.handlers, root.level, list(of_activities.filters)
    written = io.StringIO()
    with patch.object(sys, "stderr", written):
        configure_logs("json")
    # What a module's logger kept, it would keep for the tests that come after.
    structlog.configure(cache_logger_on_first_use=False)
    try:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    finally:
        structlog.reset_defaults()
        root.handlers, of_activities.filters = handlers, filters
        root.setLevel(level)
        activity.logger.activity_info_on_message = True
        workflow.logger.workflow_info_on_message = True
