"""Logs: one line an event, for people or for machines, from every library alike."""

import logging
import sys
from typing import cast

import structlog
from structlog.typing import EventDict, WrappedLogger
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

from messages.log_names import workflow_names

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
        form: `json`, or `console` for people.
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
            foreign_pre_chain=[_name_workflow, *_SHARED],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                cast("structlog.typing.Processor", renderer),
            ],
        )
    )
    # The names of what a line is about stand beside its text: not in it once more.
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    # The SDK tells of every failed attempt with its whole traceback. A fault is no bug of ours: it
    # was told of in one line where it was met.
    logging.getLogger("temporalio.activity").addFilter(_is_no_fault)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Each of them says more of every single request or login than of what is wrong.
    for name in ("asyncssh", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _name_workflow(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Name the workflow and its route in what a workflow, or the SDK for it, writes."""
    # An activity's lines have theirs from its context, which a workflow cannot have.
    about = getattr(line.get("_record"), "temporal_workflow", None) or {}
    return {**workflow_names(about.get("workflow_id"), about.get("run_id")), **line}


def _is_no_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ApplicationError) and error.details)
