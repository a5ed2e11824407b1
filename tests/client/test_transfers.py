"""Bytes to the service and back: what both clients promise about uploads and downloads."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from burnish import client as burnish
from client.played import PICTURE, PlayedService
from client.talk import Talk

PUT = "PUT /bytes/{id}"
MEDIA = "GET /media/{id}"
BYTES = bytes(range(251)) * 1000  #: some pieces, and no multiple of one


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo of a cat.jpg"
    path.write_bytes(BYTES)
    return path


@pytest.fixture
def output(service: PlayedService) -> burnish.Output:
    """What a task of the played service made."""
    return burnish.Output(
        url=f"{service.url}/media/output_1?signature=s",
        type="image/png",
        width=2,
        height=2,
        size_bytes=len(PICTURE),
        expires_at=None,
    )


def _upload(source: Any, client: Any) -> Any:
    return client.uploads.create(source)


# --- up ---------------------------------------------------------------------------------------------------------------


def test_a_path_bytes_and_a_file_are_uploaded_alike(talk: Talk, service: PlayedService, photo: Path) -> None:
    """The same bytes arrive from each; a file object is read from where it stands."""
    with photo.open("rb") as file:
        file.seek(1000)
        sources = (photo, str(photo), BYTES, bytearray(BYTES), io.BytesIO(BYTES), file)
        for upload in [partial(_upload, source) for source in sources]:
            talk(upload)

    assert list(service.uploads.values()) == [BYTES] * 5 + [BYTES[1000:]]


def test_an_upload_is_promised_as_what_it_is(talk: Talk, service: PlayedService, photo: Path) -> None:
    """Name, type and size are announced; the bytes go, with their length, to the signed URL that was given."""
    upload = talk(lambda client: client.uploads.create(photo))

    promise, put = service.asked
    assert (
        promise.body
        == b'{"filename": "photo of a cat.jpg", "content_type": "image/jpeg", "size_bytes": 251000}'
    )
    assert (put.query, put.headers["content-type"]) == ({"signature": "s"}, "image/jpeg")
    assert put.headers["content-length"] == "251000"
    assert (upload.id, upload.max_bytes) == ("upload_1", 10**9)


def test_the_key_goes_to_the_api_alone(talk: Talk, service: PlayedService, output: burnish.Output) -> None:
    """Signed URLs may lead anywhere: they are asked without the key."""
    talk(lambda client: client.uploads.create(BYTES))
    talk(lambda client: client.outputs.read(output))

    assert ["authorization" in asked.headers for asked in service.asked] == [True, False, False]


def test_an_upload_that_broke_is_sent_again_whole(talk: Talk, service: PlayedService, photo: Path) -> None:
    """A lost connection and a 503 cost a pause each; the bytes arrive whole, in one upload."""
    service.plays(PUT, service.hangs_up, service.refuses(503))

    talk(lambda client: client.uploads.create(photo))

    assert service.uploads == {"upload_1": BYTES}
    assert len(talk.pauses) == 2


def test_an_upload_whose_reply_was_lost_has_arrived(talk: Talk, service: PlayedService, photo: Path) -> None:
    """The bytes are here and the next try is told so: that is no error."""
    service.plays(PUT, service.acts_and_hangs_up)

    assert talk(lambda client: client.uploads.create(photo)).id == "upload_1"
    assert service.uploads == {"upload_1": BYTES}


def test_an_upload_that_is_not_taken_is_an_error(talk: Talk, service: PlayedService, photo: Path) -> None:
    """Any other refusal of the bytes is raised."""
    service.plays(PUT, service.refuses(409, "conflict"), service.refuses(422, "upload_hash_differs"))

    for kind in (burnish.Conflict, burnish.Invalid):
        with pytest.raises(kind):
            talk(lambda client: client.uploads.create(photo))


def test_progress_of_an_upload_ends_at_its_size(talk: Talk, photo: Path) -> None:
    """`progress` hears growing counts of the whole size, the last one all of it."""
    heard: list[tuple[int, int]] = []

    talk(lambda client: client.uploads.create(photo, progress=lambda sent, size: heard.append((sent, size))))

    assert [sent for sent, _ in heard] == sorted({sent for sent, _ in heard})
    assert heard[-1] == (len(BYTES), len(BYTES))


def test_nothing_at_all_can_be_uploaded(talk: Talk, service: PlayedService) -> None:
    """An empty file is an upload of no bytes; what to think of it is the service's to say."""
    talk(lambda client: client.uploads.create(b""))

    assert service.uploads == {"upload_1": b""}


def test_a_file_that_shrinks_while_it_is_read_is_damaged(talk: Talk, photo: Path) -> None:
    """Fewer bytes than announced are never passed off as the whole."""

    def cut(_: int, __: int | None) -> None:
        with photo.open("r+b") as file:
            file.truncate(100_000)

    with pytest.raises(burnish.Damaged, match="changed while it was read"):
        talk(lambda client: client.uploads.create(photo, progress=cut))


@pytest.mark.parametrize("source", [io.StringIO("text"), 17, None])
def test_what_is_no_bytes_is_a_type_error(talk: Talk, service: PlayedService, source: object) -> None:
    """Text files and other things are refused before anything is asked."""
    with pytest.raises(TypeError, match="binary mode"):
        talk(lambda client: client.uploads.create(source))

    assert service.asked == []


def test_files_in_an_input_are_uploaded_first(talk: Talk, service: PlayedService, photo: Path) -> None:
    """Paths, bytes and uploads, alone or in a list, become ids; outputs their URLs; strings stay."""
    earlier = talk(lambda client: client.uploads.create(b"earlier"))
    made = talk(lambda client: client.tasks.run("upscale", {"image": earlier})).outputs[0]

    talk(
        lambda client: client.tasks.create(
            "merge", {"images": [photo, b"bytes", earlier, made], "image": "https://example.com/a.png"}
        )
    )

    assert service.tasks["task_2"]["input"] == {
        "images": ["upload_2", "upload_3", "upload_1", made.url],
        "image": "https://example.com/a.png",
    }
    assert service.uploads == {"upload_1": b"earlier", "upload_2": BYTES, "upload_3": b"bytes"}


# --- down -------------------------------------------------------------------------------------------------------------


def test_an_output_is_downloaded(talk: Talk, output: burnish.Output, tmp_path: Path) -> None:
    """To a path, with progress up to its size; or into memory; nothing else is left in the folder."""
    heard: list[tuple[int, int]] = []
    target = tmp_path / "out.png"

    path = talk(
        lambda client: client.outputs.download(output, target, progress=lambda *count: heard.append(count))
    )

    assert path == target
    assert target.read_bytes() == PICTURE
    assert heard[-1] == (len(PICTURE), len(PICTURE))
    assert list(tmp_path.iterdir()) == [target]
    assert talk(lambda client: client.outputs.read(output.url)) == PICTURE


def test_a_broken_download_goes_on_where_it_broke(
    talk: Talk, service: PlayedService, output: burnish.Output, tmp_path: Path
) -> None:
    """Cut three times, and once refused between: each try asks for the rest of the same thing, and it fits."""
    service.plays(MEDIA, service.cuts(100_000), service.cuts(50_000), service.refuses(503), service.cuts(1))

    talk(lambda client: client.outputs.download(output, tmp_path / "out.png"))

    assert (tmp_path / "out.png").read_bytes() == PICTURE
    asked = [asked.headers.get("range") for asked in service.asked]
    assert asked == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-", "bytes=150001-"]
    assert {asked.headers.get("if-range") for asked in service.asked[1:]} == {'"v1"'}


def test_a_download_may_break_more_often_than_it_may_fail(
    talk: Talk, service: PlayedService, output: burnish.Output
) -> None:
    """As long as bytes come, it goes on: only tries that bring nothing are counted."""
    service.plays(MEDIA, *[service.cuts(10_000)] * 9)

    assert talk(lambda client: client.outputs.read(output), max_retries=1) == PICTURE


def test_bytes_that_changed_meanwhile_are_fetched_anew(
    talk: Talk, service: PlayedService, output: burnish.Output
) -> None:
    """Another ETag after the break: the service answers all of it, and nothing of the first part stays."""
    fresh = bytes(reversed(PICTURE))

    def changes(*_: Any) -> bool:
        service.picture, service.tag = fresh, '"v2"'
        return False

    service.plays(MEDIA, service.cuts(100_000), changes)

    assert talk(lambda client: client.outputs.read(output)) == fresh


@pytest.mark.parametrize("tag", [None, 'W/"v1"'])
def test_a_download_is_resumed_without_a_strong_tag(
    talk: Talk, service: PlayedService, output: burnish.Output, tag: str | None
) -> None:
    """A weak tag or none cannot vouch for bytes: `If-Range` is left out."""
    service.tag = tag
    service.plays(MEDIA, service.cuts(100_000))

    assert talk(lambda client: client.outputs.read(output)) == PICTURE
    assert "if-range" not in service.asked[1].headers


def test_a_break_after_the_last_byte_costs_nothing(
    talk: Talk, service: PlayedService, output: burnish.Output
) -> None:
    """All bytes came and the end of the reply did not: the service says that nothing is left, and that is that."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PICTURE)
    service.plays(MEDIA, service.writes(head + PICTURE + b"\r\n"))

    assert talk(lambda client: client.outputs.read(output)) == PICTURE
    assert [asked.headers.get("range") for asked in service.asked] == [None, f"bytes={len(PICTURE)}-"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 5-9/262144"}),
        (206, {}),
        (206, {"Content-Range": "lines 1-2/3"}),
        (200, {}),
    ],
)
def test_bytes_that_are_not_those_announced_are_damaged(
    talk: Talk,
    service: PlayedService,
    output: burnish.Output,
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
) -> None:
    """Another part, a part of something unknown, another size: an error, and no file."""
    service.plays(MEDIA, service.says(status, b"12345", headers))

    with pytest.raises(burnish.Damaged):
        talk(lambda client: client.outputs.download(output, tmp_path / "out.png"))

    assert list(tmp_path.iterdir()) == []


def test_redirects_of_a_download_are_followed(
    talk: Talk, service: PlayedService, output: burnish.Output
) -> None:
    """The service may send a download on to where the bytes lie."""
    service.plays(MEDIA, service.says(307, b"", {"Location": f"{service.url}/media/output_2?other=1"}))

    assert talk(lambda client: client.outputs.read(output)) == PICTURE
    assert [asked.path for asked in service.asked] == ["/media/output_1", "/media/output_2"]


def test_a_file_that_is_there_stays(
    talk: Talk, service: PlayedService, output: burnish.Output, tmp_path: Path
) -> None:
    """Without `overwrite` it is refused before anything is asked; with it, replaced in one step."""
    target = tmp_path / "out.png"
    target.write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        talk(lambda client: client.outputs.download(output, target))
    assert (target.read_bytes(), service.asked) == (b"mine", [])

    talk(lambda client: client.outputs.download(output, target, overwrite=True))
    assert target.read_bytes() == PICTURE


class Interrupted(BaseException):
    """What Ctrl-C is like: nobody's error."""


def test_an_interrupted_download_leaves_nothing(talk: Talk, output: burnish.Output, tmp_path: Path) -> None:
    """Whatever ends it, no half file and no part of one stays; the file that was there does."""
    target = tmp_path / "out.png"
    target.write_bytes(b"mine")

    def interrupt(*_: Any) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        talk(lambda client: client.outputs.download(output, target, overwrite=True, progress=interrupt))

    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert target.read_bytes() == b"mine"


def test_a_place_that_cannot_be_written_is_an_os_error(
    talk: Talk, output: burnish.Output, tmp_path: Path
) -> None:
    """A missing folder is the file system's own error."""
    with pytest.raises(FileNotFoundError):
        talk(lambda client: client.outputs.download(output, tmp_path / "none" / "out.png"))


def test_expired_bytes_are_told_from_missing_ones(
    talk: Talk, service: PlayedService, output: burnish.Output
) -> None:
    """410 is Expired."""
    service.plays(MEDIA, service.refuses(410, "expired"))

    with pytest.raises(burnish.Expired):
        talk(lambda client: client.outputs.read(output))
