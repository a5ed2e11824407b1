"""A worker is lost in the middle of a film: the next one goes on where it was, and nothing is left over."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.films import film, seen
from real_service import serving
from waiting import until

pytestmark = pytest.mark.asyncio


async def test_a_killed_worker_loses_a_segment_and_not_the_film(tmp_path: Path) -> None:
    """SIGKILL at a third: what was finished is not made again, and the film is whole."""
    data = film(frames=240, rate=20, options={"g": "20"})
    async with serving(tmp_path / "data", BURNISH_ENGINES_SEGMENT_SECONDS="1") as service:
        upload = await service.upload(data, "clip.mp4", "video/mp4")
        task = await service.submit("video-upscale", video=upload, mode="restore")

        async def a_third() -> bool:
            reply = (await service.http.get(f"/v1/tasks/{task['id']}")).json()
            return bool(reply["progress"] > 0.3)

        await until(a_third, 60)
        service.worker().kill()
        ended = await service.ended(task["id"], 120)
        assert ended["status"] == "succeeded", ended
        (output,) = ended["outputs"]
        assert (output["type"], output["width"], output["height"]) == ("video/mp4", 128, 96)
        assert output["seconds"] == pytest.approx(12, abs=0.1)
        assert output["frame_rate"] == pytest.approx(20, abs=0.1)
        made = seen((await service.http.get(output["url"])).content)
        assert made.times == pytest.approx([number / 20 for number in range(240)], abs=0.01)
        assert made.sound == pytest.approx(12, abs=0.1)
        (said,) = _said(tmp_path / "data.log", "film made")
        assert said["kept_before"] >= 2
        assert said["encoded"] < 210
        assert said["decoded"] < 210

        async def swept() -> bool:
            blobs = [path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()]
            return len(blobs) == 2  # what came and what was made

        await until(swept, 30)
        await service.well()


def _said(log: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]
