"""Makes the picture of docs/reference/models/render.md by the very line that stands there, and sets it beside its original.

Called by hand when `render` has changed, with a service running: BURNISH_API_KEY=… .venv/bin/python docs/picture_render.py
"""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "models" / "render.md"
PHOTO = ROOT / "src" / "burnish" / "samples" / "photo.jpg"
GAP = 8


def main() -> None:
    """The original at the left, what the line makes of it at the right."""
    line = next(line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("burnish enhance"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "photo.jpg").write_bytes(PHOTO.read_bytes())
        burnish = Path(sys.executable).with_name("burnish")
        subprocess.run([burnish, *shlex.split(line)[1:]], cwd=folder, check=True)
        made = Path(folder, "previews", "photo.webp")
        before, after = Image.open(PHOTO), Image.open(made)
        both = Image.new("RGB", (before.width + GAP + after.width, max(before.height, after.height)), "white")
        both.paste(before, (0, 0))
        both.paste(after, (before.width + GAP, 0))
        both.save(ROOT / "docs" / "pictures" / "render.jpg", quality=85)


if __name__ == "__main__":
    main()
