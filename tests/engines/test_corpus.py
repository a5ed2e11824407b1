"""Every broken, hostile and unusual file of the corpus: the right picture or the right reason, nothing else, within its memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from burnish.engines.catalogue import Render, find_model
from burnish.engines.engine import Engines, Job, Probe
from burnish.engines.films import sniff
from burnish.engines.pictures.read import BYTES_PER_PIXEL
from burnish.errors import Failed
from engines.corpus import Case, films, pictures
from engines.nested import nested, references

Opened = Callable[[bytes], int]

#: What a decoder may take whatever the size: its tables, its threads, the file, and metadata of some megabytes.
_ANYWAY_BYTES = 96 * 1024 * 1024


@pytest.fixture(scope="module")
def corpus() -> list[Case]:
    named = references(
        "/etc/hostname", "http://127.0.0.1:9/a.mp4"
    )  # tests of their own see that neither is touched
    return [*pictures(), *films(), *nested(), *named]


def test_the_corpus_is_large_and_of_many_kinds(corpus: list[Case]) -> None:
    """At least 40, as was asked; each name once; of every kind some that fail and some that come out."""
    assert len(corpus) >= 150
    assert len({case.name for case in corpus}) == len(corpus)
    assert sum(not case.reasons for case in corpus) >= 50
    assert sum("cut" in case.name for case in corpus) >= 35


@pytest.mark.asyncio(loop_scope="module")
async def test_each_file_has_its_end_and_the_worker_survives_them_all(
    engines: Engines, opened: Opened, corpus: list[Case]
) -> None:
    """Header and pixels agree; the message helps; no file of ours fails as `internal`; the template is the same afterwards."""
    await engines.probe(UUID(int=1), opened(corpus[-1].data), 20)
    template = engines._codec._template
    wrong = [(case.name, what) for case in corpus if (what := await fault(engines, opened(case.data), case))]
    assert wrong == []
    assert engines._codec._template is template


async def fault(engines: Engines, descriptor: int, case: Case) -> str | None:
    """What is wrong with what came of it."""
    header = await probed(engines, descriptor, case.filename)
    end = await ended(engines, descriptor, case.filename)
    for failed in (header, end):
        if isinstance(failed, Failed) and (failed.reason == "internal" or "Traceback" in failed.message):
            return f"{failed.reason}: {failed.message}"
    if case.film:
        fits = isinstance(header, Probe) and (header.type, (header.width, header.height)) == (
            case.film,
            case.size,
        )
        return None if fits and end is not None else f"{header}, {end}"
    if case.reasons:
        judged = header if sniff.film(case.data) else end  # as a picture, any film is refused
        return (
            None
            if isinstance(judged, Failed) and judged.reason in case.reasons and end
            else f"{judged}, {end}"
        )
    if end is not None or isinstance(header, Failed):
        return f"{header}, {end}"
    return None if (header.width, header.height) == case.size else f"{header}"


async def probed(engines: Engines, descriptor: int, filename: str) -> Probe | Failed:
    try:
        return await engines.probe(UUID(int=1), descriptor, 20, filename)
    except Failed as failed:
        return failed


async def ended(engines: Engines, descriptor: int, filename: str) -> Failed | None:
    model = find_model("render")
    assert model
    params = Render(image="x", format="png", max_width=2_000)
    try:
        for output in await engines.run(
            Job(UUID(int=1), model, params, [descriptor], 20, [filename]), lambda _stage, _fraction: None
        ):
            os.close(output.fd)
    except Failed as failed:
        return failed
    return None


def test_no_file_takes_more_memory_than_its_pixels_may(corpus: list[Case], tmp_path: Path) -> None:
    """The peak of a child, measured: what is refused takes next to nothing, what comes out a known number of bytes a pixel."""
    file = tmp_path / "corpus"
    file.write_bytes(
        msgspec.msgpack.encode([(case.name, case.data, case.filename) for case in corpus if not case.film])
    )
    script = Path(__file__).with_name("peaks.py")
    told = subprocess.run([sys.executable, script, file], check=True, capture_output=True, timeout=60)
    peaks: dict[str, int] = json.loads(told.stdout)
    allowed = {
        case.name: len(case.data) * 4
        + _ANYWAY_BYTES
        + (case.size[0] * case.size[1] if case.size else 0) * BYTES_PER_PIXEL
        for case in corpus
    }
    assert {name: peak >> 20 for name, peak in peaks.items() if peak > allowed[name]} == {}
    assert max(peaks.values()) > 1_000_000  # something was measured
