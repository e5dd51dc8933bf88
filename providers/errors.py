"""What can go wrong at a provider, in the words of the field and not of one vendor's API."""

from messages.errors import DomainError


class ProviderError(DomainError):
    """A provider did not do what it was asked.

    Attributes:
        provider: the driver's name.
        attempted: what it was asked for.
        answer: what it said.
    """

    kind = "provider-refused"

    def __init__(self, provider: str, attempted: str, answer: str) -> None:
        super().__init__(f"{provider}: {attempted}: {answer}")
        self.provider = provider
        self.attempted = attempted
        self.answer = answer


class ProviderUnavailableError(ProviderError):
    """No answer, or an answer that says nothing about what happened: look before acting again."""

    kind = "provider-unavailable"


class ProviderRateLimitedError(ProviderUnavailableError):
    """The provider asks for patience."""

    kind = "provider-rate-limited"


class ProviderCredentialsError(ProviderError):
    """The provider does not know us."""

    kind = "provider-credentials"


class MachineConflictError(ProviderError):
    """More than one machine, or somebody else's, has the key: a person has to look."""

    kind = "machine-conflict"
