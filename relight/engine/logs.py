"""Logs: the names of attributes, and the configuration.

A log line is one event, and only printable text: what others wrote is shown with escapes. Attribute
names are those of OpenTelemetry where it defines one.
"""

import logging
import sys
from typing import cast

import structlog
from structlog.typing import EventDict, WrappedLogger
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

from relight.domain import names
from relight.domain.text import all_visible, visible, visible_line

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure_logs(form: str) -> None:
    """Send all logs to standard error.

    Args:
        form: `json` for machines, or `console` for people.
    """
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_add_workflow, *_SHARED],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _make_visible,
                cast("structlog.typing.Processor", renderer),
            ],
        )
    )
    # Lines carry these facts as attributes, so the text does not repeat them.
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    # The SDK logs every failed attempt with its whole traceback. A fault is not a bug: it was
    # already logged in one line when it occurred.
    logging.getLogger("temporalio.activity").addFilter(_is_not_a_fault)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # At level INFO they log every request and login.
    for name in ("asyncssh", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _make_visible(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Escape what is not printable. Only a traceback has several lines."""
    return {
        name: visible(value)
        if name == "exception" and isinstance(value, str)
        else visible_line(value)
        if isinstance(value, str)
        else all_visible(value)
        for name, value in line.items()
    }


def _add_workflow(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add the workflow and its route to the lines of workflows and of the SDK."""
    # Lines of activities have these from the context variables, which workflows cannot use.
    info = getattr(line.get("_record"), "temporal_workflow", None) or {}
    return {**names.workflow_attributes(info.get("workflow_id"), info.get("run_id")), **line}


def _is_not_a_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ApplicationError) and error.details)
