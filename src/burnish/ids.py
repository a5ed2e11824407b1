"""Public ids: UUIDv7 inside, a prefix and 26 base-32 characters on the wire.

Made before the transaction that stores them, so that a writer whose connection was lost can look them up.
Sorted by id is sorted by the millisecond of making (RFC 9562, section 5.7); 74 bits are random.
"""

import os
import time
from functools import lru_cache
from typing import Final
from uuid import UUID, SafeUUID

#: Crockford's base 32: no I, L, O, U.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
#: Each of its digits as the one that Python has for it, in both cases; all other bytes as what is no digit.
_AS_PYTHONS: Final = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(letter)]
    if (letter := chr(byte).lower()) in _ALPHABET
    else 33
    for byte in range(256)
)
_WIRE_LENGTH: Final = 26
#: Every two digits, so that eight look-ups spell what is an id's own.
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
_SHIFTS: Final = range(70, -1, -10)


def new_id() -> UUID:
    """A fresh UUIDv7 of this machine's wall clock; the clock orders ids, nothing else is read from it."""
    made = object.__new__(
        UUID
    )  # its constructor would look at the number again, for as long as all of this takes
    object.__setattr__(made, "int", _new_number())
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made


def new_wire_id(prefix: str) -> str:
    """The same on the wire, where nobody needs the id itself."""
    return _spelt(prefix, _new_number())


def _new_number() -> int:
    milliseconds = time.time_ns() // 1_000_000
    random = _random_bits()
    high, low = random >> 62 & 0xFFF, random & ((1 << 62) - 1)
    return (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low


#: The system's randomness, fetched for many ids at once: asked for one id it takes longer than all the rest of it.
_pool: Final[list[int]] = []
_POOL: Final = 256
_WIDTH: Final = 10


def _random_bits() -> int:
    """80 bits that were never given before, in this process or in its children."""
    try:
        return _pool.pop()
    except IndexError:
        drawn = os.urandom(_POOL * _WIDTH)
        _pool.extend(int.from_bytes(drawn[at : at + _WIDTH]) for at in range(0, len(drawn), _WIDTH))
        return _pool.pop()


os.register_at_fork(after_in_child=_pool.clear)


def to_wire(prefix: str, id_: UUID) -> str:
    """`task` and a UUID -> `task_01jd…` (26 characters, 5 bits each, the highest two bits zero)."""
    return _spelt(prefix, id_.int)


def _spelt(prefix: str, number: int) -> str:
    low = number & ((1 << 80) - 1)
    return f"{prefix}_{_spelt_time(number >> 80)}" + "".join(
        [_PAIRS[low >> shift & 1023] for shift in _SHIFTS]
    )


@lru_cache(maxsize=4096)
def _spelt_time(milliseconds: int) -> str:
    """The first ten digits, which ids of one moment have in common."""
    return "".join([_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10)])


def from_wire(prefix: str, text: str) -> UUID | None:
    """The id behind `task_01jd…` or a plain UUID; None for anything else."""
    head, _, digits = text.rpartition("_")
    if not head:
        return _plain(text)
    if head != prefix or len(digits) != _WIRE_LENGTH:
        return None
    try:
        number = int(digits.encode("ascii").translate(_AS_PYTHONS), 32)
    except ValueError:  # UnicodeEncodeError is one
        return None
    return UUID(int=number) if number < 1 << 128 else None


@lru_cache(maxsize=4096)
def plain(id_: UUID) -> str:
    """The plain UUID: kept, since the same few accounts and keys are written again and again."""
    return str(id_)


def _plain(text: str) -> UUID | None:
    if len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
