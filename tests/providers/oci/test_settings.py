"""The settings of Oracle Cloud Infrastructure, and its API key."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from pydantic import ValidationError

from relight.providers.driver import ProviderCredentialsError
from relight.providers.locations import SecretFileError
from relight.providers.oci.driver import OciDriver
from relight.providers.oci.settings import OciSettings, Shape
from relight.providers.oci.signature import read_api_key
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import api_key, pem


def written(key: Any, encryption: KeySerializationEncryption) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return made


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ({"zones": ()}, "locations.eu-frankfurt-1: set zones"),
        ({"subnet": ""}, "locations.eu-frankfurt-1: set subnet"),
        ({"shapes": ("VM.Standard.E4.Flex",)}, "write NAME, or NAME.Flex:OCPUS:MEMORY"),
        ({"shapes": ("VM.Standard.E4.Flex:1",)}, "write NAME, or NAME.Flex:OCPUS:MEMORY"),
        ({"shapes": ("VM.Standard.E2.1:1:8",)}, "write NAME, or NAME.Flex:OCPUS:MEMORY"),
        ({"shapes": ("VM.Standard.E4.Flex:one:8",)}, "OCPUS and MEMORY are numbers"),
        ({"extra": {"public_ip": True}}, "extra.public_ip: known are assign_public_ip"),
        ({"extra": {"assign_public_ip": "no"}}, "extra.assign_public_ip: known are"),
    ],
)
def test_a_location_that_cannot_be_used_is_refused_with_its_name(
    tmp_path: Path, location: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        OciFake().settings(tmp_path, **location)


def test_a_shape_has_the_size_that_its_name_says() -> None:
    assert Shape.read("VM.Standard.A1.Flex:0.5:6") == ("VM.Standard.A1.Flex", 0.5, 6.0)
    assert Shape.read("VM.Standard.E2.1") == ("VM.Standard.E2.1", None, None)


def test_the_vendors_own_url_names_the_region(tmp_path: Path) -> None:
    values = OciFake().settings(tmp_path).model_dump(exclude={"url"})
    url = OciSettings.model_validate(values).url_of("eu-zurich-1")
    assert url == "https://iaas.eu-zurich-1.oraclecloud.com/20160918"


@pytest.mark.parametrize("after", [b"", b"OCI_API_KEY\n"])
def test_an_api_key_is_read_as_the_vendors_console_writes_it(tmp_path: Path, after: bytes) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem() + after)
    assert read_api_key(file).private_numbers() == api_key().private_numbers()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"no key", "no private key in PEM without a passphrase"),
        (written(api_key(), BestAvailableEncryption(b"secret")), "without a passphrase"),
        (written(ed25519.Ed25519PrivateKey.generate(), NoEncryption()), "no RSA key"),
    ],
    ids=["nothing", "a text", "with a passphrase", "another kind"],
)
def test_a_file_without_an_api_key_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    settings = OciFake().settings(tmp_path).model_copy(update={"key_file": file})
    with pytest.raises(SecretFileError, match=words) as refused:
        OciDriver(settings)
    assert str(file) in str(refused.value)


async def test_a_clock_that_is_off_by_an_hour_is_refused_and_not_retried(tmp_path: Path) -> None:
    fake = OciFake()
    with fake.served():
        settings = fake.settings(tmp_path)
        driver = OciDriver(settings, now=lambda: datetime.now(UTC) - timedelta(hours=1))
        with pytest.raises(ProviderCredentialsError, match="NotAuthenticated") as refused:
            await driver.list()
        assert not refused.value.retryable
        await driver.close()
