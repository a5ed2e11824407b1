"""What comes out of each operation, against what is known to be right: `scripts/bench quality`, or `scripts/bench quality NAME`.

On scikit-image's photos and pictures made here, spoilt here, so that the truth is known.
"""

import sys

import quality_cutout
import quality_enhance
import quality_lens
import quality_merge
import quality_privacy
import quality_sky
import quality_straighten
import quality_upscale
import quality_video
import section

NAME = "quality"
PEERS: list[str] = []

SECTIONS = {
    "enhance": quality_enhance.enhance_,
    "straighten": quality_straighten.straighten_,
    "lens": quality_lens.lens_,
    "upscale": quality_upscale.upscale_,
    "denoise": quality_upscale.denoise_,
    "sharpen": quality_upscale.sharpen_,
    "merge": quality_merge.merge_,
    "privacy": quality_privacy.privacy_,
    "sky": quality_sky.sky_,
    "video": quality_video.video_,
    "cutout": quality_cutout.cutout_,
}

if __name__ == "__main__":
    section.run(NAME, SECTIONS, sys.argv[1:])
