"""How fast each operation is, beside the nearest library alone: `scripts/bench engines`, or `scripts/bench engines NAME`."""

import sys

import engines_cutout
import engines_enhance
import engines_first
import engines_memory
import engines_merge
import engines_upscale
import engines_video
import section

NAME = "engines"
PEERS: list[str] = []

SECTIONS = {
    "upscale": engines_upscale.upscale_,
    "first": engines_first.first_,
    "memory": engines_memory.memory_,
    "enhance": engines_enhance.enhance_,
    "merge": engines_merge.merge_,
    "video": engines_video.video_,
    "cutout": engines_cutout.cutout_,
}

if __name__ == "__main__":
    section.run(NAME, SECTIONS, sys.argv[1:])
