"""What counters promise, wherever they are kept."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence

from burnish.errors import Unavailable
from burnish.limits.rate import Rate, Verdicts

#: Whose use of a rate is counted, and the rate.
Asked = tuple[str, Rate]


class Counters(ABC):
    """Counts the requests of many subjects.

    `tag` names what is decided together: an account, an address. What has another tag, subject or rate's name never
    meets. Both methods answer at once where the counters are in this process, and otherwise with something to await:

        verdicts = counters.spend(tag, asked)
        if not isinstance(verdicts, list):
            verdicts = await verdicts
    """

    @abstractmethod
    def spend(self, tag: str, asked: Sequence[Asked]) -> Verdicts | Awaitable[Verdicts]:
        """One request, spent of all that are asked or, where one refuses, of none. One verdict for each, in order.

        Raises:
            Unavailable: `limits_unavailable`, where the store does not answer and a rate is `closed` then.
        """

    @abstractmethod
    def peek(self, tag: str, asked: Sequence[Asked]) -> Verdicts | Awaitable[Verdicts]:
        """How they stand, and whether one more would be allowed. Spends nothing; raises as `spend`."""

    @abstractmethod
    def away(self) -> bool:
        """Whether the store does not answer just now, and each rate does what its `when_down` says."""

    @abstractmethod
    async def close(self) -> None:
        """End what is under way; nothing may be asked any more."""


def unavailable() -> Unavailable:
    """What a caller is told where a rate is closed while the store does not answer."""
    return Unavailable(
        "The counters of requests do not answer. Try again.", code="limits_unavailable", retry_after=1
    )
