"""Where the astronaut of scikit-image's photo is: what the cut-out is measured by, in tests and benches.

The outline was traced by hand, on the photo enlarged four times under a grid of 20 pixels, point after point along the
edge that the eye sees; where hair thins out, through the middle of the fringe. It holds to about a pixel, two at the hair. She, her
suit with its ring and its fittings, and the helmet that she holds are inside; flag, model, table and wall are not. No
network and no segmentation had a part in it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

#: (x, y), from the hair's left side upwards, over the head, down her left shoulder, round the helmet, and back up.
OUTLINE = (
    (155, 98), (154, 88), (153, 76), (154, 68), (157, 60), (163, 52), (172, 44), (182, 39), (190, 34), (195, 28), (202, 22),
    (212, 19), (222, 16), (233, 15), (245, 17), (256, 21), (266, 26), (276, 32), (284, 40), (291, 50), (296, 60), (299, 70),
    (301, 80), (301, 90), (298, 101), (294, 110), (288, 117), (282, 123), (278, 131), (272, 136), (267, 137), (266, 145),
    (262, 153), (257, 160), (256, 168), (255, 174), (262, 176), (270, 183), (280, 194), (288, 204), (296, 215), (301, 226),
    (304, 235), (312, 239), (322, 245), (330, 253), (338, 260), (344, 270), (347, 280), (350, 284), (354, 296), (356, 308),
    (357, 318), (360, 328), (362, 333), (360, 336), (361, 345), (365, 350), (370, 349), (380, 346), (392, 344), (400, 343),
    (415, 345), (430, 349), (445, 355), (458, 363), (470, 374), (478, 383), (485, 394), (490, 406), (494, 420), (496, 435),
    (497, 450), (502, 456), (500, 461), (505, 468), (508, 478), (510, 487), (511, 492), (511, 511), (40, 511), (33, 502),
    (28, 492), (26, 480), (24, 465), (23, 452), (24, 440), (22, 428), (20, 418), (20, 405), (20, 392), (24, 380), (26, 368),
    (25, 355), (27, 342), (30, 330), (33, 318), (36, 308), (39, 300), (41, 292), (45, 281), (50, 272), (55, 265), (60, 257),
    (66, 248), (74, 239), (80, 233), (90, 226), (98, 219), (105, 213), (112, 207), (115, 203), (113, 200), (115, 196),
    (113, 190), (114, 186), (118, 187), (122, 184), (124, 178), (130, 166), (140, 158), (150, 153), (165, 149), (182, 148),
    (182, 140), (181, 132), (176, 131), (173, 125), (171, 119), (165, 114), (158, 106),
)  # fmt: skip


def mask(scale: int = 1) -> NDArray[np.bool_]:
    """`[512, 512]` times `scale`: True where she is."""
    drawn = np.zeros((512 * scale, 512 * scale), np.uint8)
    cv2.fillPoly(drawn, [(np.array(OUTLINE) * scale + (scale - 1) / 2).round().astype(np.int32)], 1)
    return drawn.astype(bool)


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())
