"""The settings of staging: the object storage where a disk is while a provider imports it."""

from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, StringConstraints

BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
"""What every S3 storage takes. TLS fails with a dot where the bucket is in the host name."""


class StagingSettings(BaseModel):
    """The table `[NAME.staging]` of `providers.toml`: object storage with the API of S3.

    Attributes:
        url: of the S3 API, without the bucket.
        region: as the storage names it; it is part of each signature.
        bucket: used by nothing else. It is created private if it does not exist.
        key_id: of the access key.
        secret_file: the file with the access key's secret.
        path_style: whether the bucket is in the path of a URL. Otherwise it is in the host name,
            as Alibaba Cloud demands.
        sets_expiry: whether the bucket's rule of expiry, one day, is set through the API. False for
            a storage that has no such call, as OCI: set the rule there by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: AnyHttpUrl
    region: str = "us-east-1"
    bucket: BucketName
    key_id: str
    secret_file: Path
    path_style: bool = True
    sets_expiry: bool = True
