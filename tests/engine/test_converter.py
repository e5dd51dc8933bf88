"""Failures that fit into a request, whatever an error repeats."""

from pathlib import Path

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from relight.engine.converter import DATA_CONVERTER, ENCODED_MESSAGE, MAX_CAUSES
from relight.engine.encryption import data_converter, key_name, new_key
from relight.temporal_settings import TemporalSettings

pytestmark = pytest.mark.attack("payloads that are too large")


async def failure_of(error: BaseException, converter: DataConverter = DATA_CONVERTER) -> Failure:
    failure = Failure()
    await converter.encode_failure(error, failure)
    return failure


@pytest.fixture
def encrypting(tmp_path: Path) -> DataConverter:
    keys = tmp_path / "payload-keys"
    keys.write_text(new_key())
    return data_converter(TemporalSettings(payload_keys=keys))


def raised(depth: int) -> Exception:
    """Return a chain of errors, each with five megabytes of text."""
    error = ValueError("\x1b]52;c;x\x07" + "x" * 5_000_000)
    error.__cause__ = raised(depth - 1) if depth else KeyError("\x1b[2J" * 1_000_000)
    return error


async def test_a_failure_is_small_and_visible_whatever_its_error_repeats() -> None:
    with pytest.raises(ValueError, match="x") as caught:
        raise raised(30)
    failure = await failure_of(caught.value)
    assert failure.stack_trace
    assert failure.ByteSize() < MAX_CAUSES * 13 * 1024
    each, depth = failure, 0
    while True:
        depth += 1
        assert each.message.startswith(r"\x1b]52;c;x\x07x")
        if not each.HasField("cause"):
            break
        each = each.cause
    assert depth == MAX_CAUSES


async def test_an_ordinary_failure_stays_as_it_is() -> None:
    failure = await failure_of(ApplicationError("the host is off", {"a": 1}, type="x"))
    error = await DATA_CONVERTER.decode_failure(failure)
    assert isinstance(error, ApplicationError)
    assert (error.message, error.type, error.details) == ("the host is off", "x", ({"a": 1},))


async def test_an_encrypted_failure_is_small_as_well_and_comes_back_whole(
    encrypting: DataConverter,
) -> None:
    with pytest.raises(ValueError, match="x") as caught:
        raise raised(30)
    failure = await failure_of(caught.value, encrypting)
    assert failure.ByteSize() < MAX_CAUSES * 13 * 1024
    each, depth = failure, 1
    while each.HasField("cause"):
        assert (each.message, each.stack_trace) == (ENCODED_MESSAGE, "")
        assert key_name(each.encoded_attributes)
        each, depth = each.cause, depth + 1
    assert depth == MAX_CAUSES
    error = await encrypting.decode_failure(failure)
    assert str(error.__cause__).startswith(r"ValueError: \x1b]52;c;x\x07x")


async def test_a_received_failure_that_is_sent_on_hides_its_causes_again(
    encrypting: DataConverter,
) -> None:
    with pytest.raises(ApplicationError) as caught:
        raise ApplicationError("the outer secret") from ApplicationError("the inner secret")
    first = await failure_of(caught.value, encrypting)
    received = await encrypting.decode_failure(first)
    again = await failure_of(received, encrypting)
    assert b"secret" not in again.SerializeToString()
    error = await encrypting.decode_failure(again)
    assert (str(error), str(error.__cause__)) == ("the outer secret", "the inner secret")
