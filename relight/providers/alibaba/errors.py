"""Alibaba Cloud's error codes, as the errors that they are for us."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

import httpx

from relight.providers.api import Refusal, error_for_status
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import ImageInUseError
from relight.providers.rate import MAX_RETRY_AFTER, retry_after

Kind = type[ProviderError]


class TokenMismatchError(ProviderUnavailableError):
    """The token was used with another payload, which may have created a machine."""


class WrongStatusError(ProviderUnavailableError):
    """The instance's status does not allow the operation now."""


class DryRunPassedError(ProviderError):
    """A dry run was successful: the operation would have been done."""


class NoSuchImageError(ProviderInvalidError):
    """The region has no image with this id."""


class ImageCopyingError(WrongStatusError):
    """The image is being copied: it is not deleted, but its copy cancelled."""


class ImagePublicError(ProviderError):
    """The image is public: it has to be made private before it is deleted."""


ABSENT: Final = "InvalidInstanceId.NotFound"
"""The one code that says that an instance does not exist."""


def _all(kind: Kind, codes: str) -> Iterable[tuple[str, Kind]]:
    return ((code, kind) for code in codes.split())


_BY_CODE: Mapping[str, Kind] = dict(
    [
        # Another zone or instance type may have what this one has not.
        *_all(
            ProviderCapacityError,
            """OperationDenied.NoStock Invalid.PrivatePoolOptions.NoStock ResourceNotAvailable
            LackResource NoAvaliableDedicatedHost Zone.NotOnSale Zone.NotOpen
            OperationDenied.ZoneNotAllowed OperationDenied.ResourceControl
            OperationDenied.PaygNotAvailable OperationDenied.ZoneSystemCategoryNotMatch
            OperationDenied.CloudSSDNotSupported CategoryNotSupported
            InvalidResourceType.NotSupported InvalidInstanceType.ZoneNotSupported
            InvalidVpcZone.NotSupported InstanceType.Offline OperationDenied.NoVlan
            QuotaExceeded.PrivateIpAddress""",
        ),
        # A person has to ask for more, or to pay.
        *_all(
            ProviderQuotaError,
            """OperationDenied.QuotaExceed SecurityGroupInstanceLimitExceed JoinedGroupLimitExceed
            InvalidOperation.EniCountExceeded Account.Arrearage InsufficientBalance
            InvalidAccountStatus PaymentMethodNotFound InvalidPayMethod
            InvalidAccountStatus.NotEnoughBalance InvalidAccountStatus.PayAmountLimitExceeded
            InvalidInstance.UnPaidOrder RealNameAuthenticationError SecurityRisk.3DVerification""",
        ),
        # A clock that is wrong makes a signature invalid, too.
        *_all(
            ProviderCredentialsError,
            """Forbbiden RegionUnauthorized InvalidUser.PassRoleForbidden InvalidUserData.Forbidden
            UserNotInTheWhiteList MissingSecurityToken NoEnabledAccessKey SignatureDoesNotMatch
            IncompleteSignature IllegalTimestamp InvalidTimeStamp.Expired RiskControl.Refused""",
        ),
        # It may pass, or it may have been done: look first.
        *_all(
            ProviderUnavailableError,
            """InternalError Mayi.InternalError ServiceUnavailable SystemBusy UnknownError
            IdempotentProcessing LastTokenProcessing OperationFailed.LastTokenProcessing
            OperationDenied.CreatingConflict OperationConflict InvalidOperation.Conflict
            SignatureNonceUsed NodeControllerUnavailable DependencyViolation.SLBConfiguring
            IncorrectVSwitchStatus IncorrectVpcStatus IncorrectDefaultVpcStatus
            InvalidHpcClusterId.Creating""",
        ),
        *_all(
            TokenMismatchError,
            """IdempotentParameterMismatch IdempotenceParamNotMatch
            InvalidIdempotenceParameter.Mismatch""",
        ),
        # Of an instance that a person has protected, rented for long, or tied to other things.
        *_all(ProviderError, "InstanceLockedForSecurity OperationDenied"),
        ("Forbidden.OnlySupportEnterpriseGroup", ProviderInvalidError),
        # Of images. The vendor has both spellings of the role that is not set.
        *_all(ImageInUseError, "ImageUsingByInstance ImageUseShared"),
        *_all(WrongStatusError, "ImageIsImporting ImageIsCreating ImageIsExporting"),
        *_all(ProviderUnavailableError, "InvalidImageName.Duplicated InvalidOSSBucket.FlowLimit"),
        *_all(
            ProviderCredentialsError,
            """NoSetRoletoECSServiceAcount NoSetRoletoECSServiceAccount InvalidOSS.NotAuthorized""",
        ),
        *_all(ProviderQuotaError, "InvalidAccountStatus.OSSDisabled"),
        *_all(ProviderError, "ImportImageFailed"),
        ("InvalidImageId.NotFound", NoSuchImageError),
        ("OperationDenied.ImageCopying", ImageCopyingError),
        ("ImageIsPublic", ImagePublicError),
        ("DryRunOperation", DryRunPassedError),
    ]
)

_BY_PREFIX: tuple[tuple[str, Kind], ...] = (
    ("Throttling", ProviderRateLimitedError),
    ("IncorrectInstanceStatus", WrongStatusError),
    ("QuotaExceed", ProviderQuotaError),
    ("AccountForbidden.", ProviderQuotaError),
    ("Forbidden", ProviderCredentialsError),
    ("InvalidAccessKeyId", ProviderCredentialsError),
    ("InvalidSecurityToken", ProviderCredentialsError),
    ("NoPermission", ProviderCredentialsError),
    ("ChargeTypeViolation", ProviderError),
    ("DependencyViolation.", ProviderError),
    ("InvalidOperation.", ProviderError),
)


def kind_of(status: int, code: str) -> Kind:
    """Return the error of a code; a code that is not known is a wrong request, or as its status."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    for prefix, kind in _BY_PREFIX:
        if code.startswith(prefix):
            return kind
    by_status = error_for_status(status)
    return by_status if issubclass(by_status, ProviderUnavailableError) else ProviderInvalidError


def classify(refusal: Refusal) -> ProviderError | None:
    """Return the error of a refusal; None if it says that the instance does not exist."""
    code, message = refusal.fields.get("Code"), refusal.fields.get("Message")
    if not isinstance(code, str):
        if httpx.codes.is_server_error(refusal.status):
            return refusal.error(ProviderUnavailableError, _without_values(refusal.text))
        words = f"not an answer of the API: {_without_values(refusal.text)}"
        return refusal.error(ProviderAnswerError, words)
    if code == ABSENT:
        return None
    error = refusal.error(kind_of(refusal.status, code), _without_values(f"{code}: {message}"))
    if isinstance(error, ProviderRateLimitedError):
        error.retry_after = _retry_after(refusal.headers)
    return error


_VALUE = re.compile(r"[\w+/=%-]{65,}", re.ASCII)
"""Longer than any id, name or token. User-data is in the query, which a refusal may repeat."""


def _without_values(words: str) -> str:
    return _VALUE.sub("...", words)


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    text = headers.get("x-acs-retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(milliseconds=int(text[:9])), MAX_RETRY_AFTER)
    return retry_after(headers)
