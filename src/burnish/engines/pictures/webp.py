"""Lossless WebP of gray runs, written symbol by symbol: a picture of any size costs a few milliseconds and kilobytes.

Called by `canned`. A row is told by its runs, a row like the one above by reference to it, 4,096 pixels at a time. The
format is RFC 9649, section 3; what is left at its simplest there is one set of prefix codes, and red and blue that
follow green.
"""

import struct
from collections.abc import Iterable
from typing import IO, Final

#: Levels of green and prefixes of lengths, one alphabet: so many letters of each kind.
_LEVELS: Final = 256
_LENGTHS: Final = 24
_LONGEST: Final = 4_096
#: Distances are said as places nearby: 1 is the pixel above, 2 the one on the left. Each has a code of one bit.
_ABOVE, _LEFT = 0, 1

#: A run: its level, and how many pixels.
Run = tuple[int, int]


def write_webp(width: int, height: int, bands: Iterable[tuple[list[Run], int]], out: IO[bytes]) -> None:
    """`bands`: the runs of a row, which come to `width`, and how many such rows follow each other."""
    bands = list(bands)
    bits = _Bits()
    bits.put(0x2F, 8)
    bits.put(width - 1, 14)
    bits.put(height - 1, 14)
    bits.put(0, 4)  # opaque; version 0
    bits.put(1 | 2 << 1, 3)  # one transform: green is taken from red and blue
    bits.put(0, 3)  # no more transforms, no cache of colours, one set of codes
    codes = _put_green(bits, sorted({level for runs, _ in bands for level, _ in runs}))
    for letter in (0, 0, 255):  # red and blue are as green, nothing is transparent: no bits at all
        bits.put(0b101 | letter << 3, 11)
    bits.put(0b011, 3)  # distances: two letters
    bits.put(_ABOVE, 1)
    bits.put(_LEFT, 8)
    for runs, rows in bands:
        for level, pixels in runs:
            bits.put(*codes[level])
            _put_copies(bits, codes, pixels - 1, _LEFT)
        _put_copies(bits, codes, (rows - 1) * width, _ABOVE)
    data = bits.whole()
    padded = len(data) + len(data) % 2
    out.write(struct.pack("<4sI4s4sI", b"RIFF", 12 + padded, b"WEBP", b"VP8L", len(data)))
    out.write(data.ljust(padded, b"\0"))


class _Bits:
    """Bits, the lowest first."""

    def __init__(self) -> None:
        self._whole = bytearray()
        self._value = 0
        self._count = 0

    def put(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count
        if self._count >= 256:
            self._whole += (self._value & ((1 << 256) - 1)).to_bytes(32, "little")
            self._value >>= 256
            self._count -= 256

    def whole(self) -> bytes:
        return bytes(self._whole + self._value.to_bytes(-(-self._count // 8), "little"))


def _put_green(bits: _Bits, levels: list[int]) -> dict[int, tuple[int, int]]:
    """The prefix code of these levels and all lengths: of 4 bits as far as they go, then of 5. Returns the codes."""
    letters = [*levels, *range(_LEVELS, _LEVELS + _LENGTHS)]
    short = 32 - len(letters)
    assert short > 0
    lengths = {letter: 4 if place < short else 5 for place, letter in enumerate(letters)}
    bits.put(0, 1)  # a code that is written out, its lengths in a code of their own: 0 -> 0, 4 -> 10, 5 -> 11
    bits.put(8 - 4, 4)  # as many of the lengths' lengths follow, for 17, 18, 0, 1, 2, 3, 4, 5
    for length in (0, 0, 1, 0, 0, 0, 2, 2):
        bits.put(length, 3)
    bits.put(0, 1)  # for every letter there is
    for letter in range(_LEVELS + _LENGTHS):
        bits.put(*{0: (0b0, 1), 4: (0b01, 2), 5: (0b11, 2)}[lengths.get(letter, 0)])
    # Canonical: those of 4 bits count from 0, those of 5 go on behind the last of them.
    codes = [(place, 4) if place < short else (short + place, 5) for place in range(len(letters))]
    return {letter: (_reversed(*code), code[1]) for letter, code in zip(letters, codes, strict=True)}


def _reversed(code: int, length: int) -> int:
    return int(f"{code:0{length}b}"[::-1], 2)


def _put_copies(bits: _Bits, codes: dict[int, tuple[int, int]], pixels: int, distance: int) -> None:
    while pixels:
        length = min(pixels, _LONGEST)
        pixels -= length
        prefix, extra, extra_bits = _prefix(length)
        bits.put(*codes[_LEVELS + prefix])
        bits.put(extra, extra_bits)
        bits.put(distance, 1)


def _prefix(length: int) -> tuple[int, int, int]:
    """A length's prefix, and what follows it in how many bits."""
    value = length - 1
    if value < 4:
        return value, 0, 0
    extra_bits = value.bit_length() - 2
    return 2 * extra_bits + (value >> extra_bits), value & ((1 << extra_bits) - 1), extra_bits
