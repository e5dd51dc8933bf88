"""The names by which a log line says what it is about. OpenTelemetry's, where it has one."""

import logging
import sys
from typing import Final, cast

import structlog
from structlog.typing import EventDict, WrappedLogger
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

HOST: Final = "host.name"
"""The machine's key, which is its host name."""

ADDRESS: Final = "host.ip"
ROUTE: Final = "route.id"
TRACK: Final = "track.name"
PROVIDER: Final = "cloud.provider"
REGION: Final = "cloud.region"
RELEASE: Final = "release.tag"

ROLLOUT: Final = "rollout.id"
"""The rollout's workflow id."""

WORKFLOW: Final = "workflow.id"
RUN: Final = "workflow.run_id"
ACTIVITY: Final = "activity.type"
ATTEMPT: Final = "activity.attempt"
FAULT: Final = "error.type"
FAULT_CLASS: Final = "fault.class"


def workflow_names(workflow_id: str | None, run_id: str | None) -> dict[str, str]:
    """Return what a workflow is known by, and what its id says that it is about."""
    kind, _, rest = (workflow_id or "").partition("/")
    names = {
        WORKFLOW: workflow_id,
        RUN: run_id,
        ROUTE: rest if kind == "route" else None,
        ROLLOUT: workflow_id if kind == "rollout" else None,
    }
    return {name: value for name, value in names.items() if value}


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


# MERGEDOC """Logs: one line an event, for people or for machines, from every library alike."""
