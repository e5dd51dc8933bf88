"""How values and errors become messages of the engine.

An error that nobody expected may repeat what a host wrote. A failure that is too large for a
request never arrives: the engine then reports that the activity timed out. So each failure has a
limit.
"""

import dataclasses

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter

from relight.domain.text import MAX_TEXT_BYTES, visible_head, visible_tail

MAX_STACK_BYTES = 8 * 1024

ENCODED_MESSAGE = "Encoded failure"
"""The message of a failure whose own is encoded, as in the SDK."""

MAX_CAUSES = 10
"""How many errors of a chain are sent, from the outermost on."""


class BoundedFailureConverter(DefaultFailureConverter):
    """Makes the message of each failure visible, and cuts messages, stacks and chains."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Convert an exception to a failure."""
        super().to_failure(exception, payload_converter, failure)
        each, depth = failure, 0
        while True:
            each.message = visible_head(each.message, MAX_TEXT_BYTES)
            each.stack_trace = visible_tail(each.stack_trace, MAX_STACK_BYTES)
            depth += 1
            if not each.HasField("cause"):
                return
            if depth == MAX_CAUSES:
                each.ClearField("cause")
                return
            each = each.cause


class EncodedFailureConverter(BoundedFailureConverter):
    """Also moves each message and stack to where a codec encrypts it, once they have been cut.

    The SDK's own does so before the cut, and leaves the causes of a received failure as they are.
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Convert an exception to a failure."""
        super().to_failure(exception, payload_converter, failure)
        each = failure
        while True:
            if not each.HasField("encoded_attributes") or each.message != ENCODED_MESSAGE:
                words = {"message": each.message, "stack_trace": each.stack_trace}
                [encoded] = payload_converter.to_payloads([words])
                each.encoded_attributes.CopyFrom(encoded)
                each.message, each.stack_trace = ENCODED_MESSAGE, ""
            if not each.HasField("cause"):
                return
            each = each.cause


DATA_CONVERTER = dataclasses.replace(
    pydantic_data_converter, failure_converter_class=BoundedFailureConverter
)
"""The converter of every client and worker whose payloads are not encrypted."""
