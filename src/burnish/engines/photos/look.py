"""The styles of `enhance`, as figures: how far each goes, and what it likes.

Called by `tone` and `enhance`. Everything is in encoded samples, 0 to 1, unless it says otherwise.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

Style = Literal["property", "property_usa", "warm", "neutral", "modern", "authentic"]


@dataclass(frozen=True)
class Look:
    """`dark`, `bright`: brightness in the middle of a picture (the mean of its median and its mean) is brought to at least
    and at most this. `repair`: how much of what is found wrong with exposure, black and white is put right. `balance`: how much of a
    cast is taken out.

    What a style does to good photos too: `lift`, light given to shadows, and `hold`, taken from highlights, both as far as
    there are any; `contrast`, of the whole; `clarity`, of what is near each other; `colour`, a factor of saturation; `tint`,
    logarithms of red and blue over green.
    """

    dark: float = 0.36
    bright: float = 0.66
    repair: float = 1.0
    balance: float = 1.0
    lift: float = 0.0
    hold: float = 0.0
    contrast: float = 0.0
    clarity: float = 0.0
    colour: float = 1.0
    tint: tuple[float, float] = (0.0, 0.0)


LOOKS: Final[dict[Style, Look]] = {
    "neutral": Look(),
    "authentic": Look(dark=0.32, bright=0.70, repair=0.7, balance=0.3),
    "property": Look(dark=0.50, bright=0.68, lift=0.55, hold=0.25, clarity=0.22, colour=1.05),
    "property_usa": Look(
        dark=0.55, bright=0.72, lift=0.8, hold=0.25, contrast=0.10, clarity=0.35, colour=1.16, tint=(-0.012, 0.012)
    ),
    "warm": Look(dark=0.47, bright=0.68, lift=0.4, hold=0.25, clarity=0.15, colour=1.06, tint=(0.035, -0.055)),
    "modern": Look(dark=0.46, bright=0.66, lift=0.2, contrast=0.22, clarity=0.3, colour=0.86, tint=(-0.025, 0.03)),
}  # fmt: skip


def look_of(style: Style, strength: float) -> Look:
    """A style, gone into as far as `strength` says: 0 changes nothing, 1 is as described, 2 twice that of its taste.

    What is wrong with a photo is never put right by more than the whole of it.
    """
    look, mends = LOOKS[style], min(strength, 1.0)
    return replace(
        look,
        dark=look.dark * mends,
        bright=1 - (1 - look.bright) * mends,
        repair=look.repair * mends,
        balance=look.balance * mends,
        lift=look.lift * strength,
        hold=look.hold * strength,
        contrast=look.contrast * strength,
        clarity=look.clarity * strength,
        colour=look.colour**strength,
        tint=(look.tint[0] * strength, look.tint[1] * strength),
    )
