"""From what was found in a picture to a level: low, mid or high. Pure; docs/reference/models/moderate.md has the same table."""

from collections.abc import Iterable
from typing import Final, Literal

from burnish.engines.networks.nudity import Find

Level = Literal["low", "mid", "high"]

#: Uncovered, and what everybody means by explicit: from the first score on it may be, from the second it is.
_EXPLICIT: Final = frozenset(
    {
        "FEMALE_GENITALIA_EXPOSED",
        "MALE_GENITALIA_EXPOSED",
        "ANUS_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
        "BUTTOCKS_EXPOSED",
    }
)
_PERHAPS, _SURELY = 0.2, 0.4
#: Covered so that it was recognised for what it is, or a bare chest.
_SUGGESTIVE: Final = frozenset(
    {"FEMALE_GENITALIA_COVERED", "ANUS_COVERED", "BUTTOCKS_COVERED", "MALE_BREAST_EXPOSED"}
)
#: Alone a clothed person; together swimwear or less.
_TOGETHER: Final = frozenset({"FEMALE_BREAST_COVERED", "BELLY_EXPOSED"})
_SEEN: Final = 0.4


def level(found: Iterable[Find]) -> Level:
    """High: something explicit is surely there. Mid: perhaps, or something suggestive. Low: neither was found."""
    best: dict[str, float] = {}
    for find in found:
        best[find.label] = max(best.get(find.label, 0.0), find.score)
    explicit = max((best.get(label, 0.0) for label in _EXPLICIT), default=0.0)
    if explicit >= _SURELY:
        return "high"
    suggestive = any(best.get(label, 0.0) >= _SEEN for label in _SUGGESTIVE)
    together = all(best.get(label, 0.0) >= _SEEN for label in _TOGETHER)
    return "mid" if explicit >= _PERHAPS or suggestive or together else "low"
