"""Files in files, and files that name other files: what is inside must never be opened, nor what is named.

`nested()` are films that hold films, covers, attachments or only words: each has the film that a player shows, or a reason.
`references(...)` are lists and films that name a file and an address, called as films and begun like films.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from burnish.engines.pictures.avif import _box, _full
from engines.corpus import DAMAGED, EITHER, NOT_READ, Case, encoded, film, patched, photo, sound

_INNER = 32


def nested() -> Iterator[Case]:
    """The films around are 64 pixels wide; those inside 32, and so told from them."""
    size = (64, 48)
    outer, inner = film("mov", "libx264"), film("mp4", "libx264", width=_INNER, height=_INNER)
    mkv, inner_mkv = film("matroska", "libx264"), film("matroska", "libx264", width=_INNER, height=_INNER)
    cover = encoded(photo(), "JPEG")
    head = outer.index(b"ftyp") - 4 + int.from_bytes(outer[outer.index(b"ftyp") - 4 :][:4])
    yield Case(
        "nested-mp4-in-the-data-of-a-mov",
        _shifted(outer, head, _box(b"mdat", inner)),
        size=size,
        film="video/quicktime",
    )
    yield Case("nested-mp4-is-all-the-data", outer[:head] + _box(b"mdat", inner), DAMAGED)
    yield Case("nested-mp4-behind-a-mov", outer + inner, size=size, film="video/quicktime")
    yield Case(
        "nested-mkv-attached-to-mkv",
        _attached(inner_mkv, "video/x-matroska"),
        size=size,
        film="video/x-matroska",
    )
    yield Case(
        "nested-mkv-attached-to-nothing", _attached(inner_mkv, "video/x-matroska", pictures=False), NOT_READ
    )
    yield Case("nested-mkv-behind-mkv", mkv + inner_mkv, size=size, film="video/x-matroska")
    yield Case("nested-cover-of-mkv", _attached(cover, "image/jpeg"), size=size, film="video/x-matroska")
    yield Case("nested-cover-of-nothing-mkv", _attached(cover, "image/jpeg", pictures=False), NOT_READ)
    yield Case("nested-cover-first", _covered(outer, cover), size=size, film="video/quicktime")
    yield Case("nested-cover-alone", _covered(sound(), cover), NOT_READ)
    yield Case("nested-words-alone", _words(), NOT_READ)
    yield Case(
        "nested-stream-called-mp4", film("mpegts", "libx264"), size=size, film="video/mp2t", filename="a.mp4"
    )
    yield Case(
        "nested-film-called-gif", film("mp4", "libx264"), size=size, film="video/mp4", filename="a.gif"
    )
    yield Case("nested-gif-called-film", encoded(photo(), "GIF"), size=photo().size, filename="a.mp4")
    yield Case("nested-zip-in-front", b"PK\x03\x04" + bytes(26) + inner, NOT_READ, filename="a.mp4")
    stream = film("mpegts", "libx264")
    yield Case("nested-mp4-behind-a-stream", stream + inner, size=size, film="video/mp2t")


def references(path: str, address: str) -> Iterator[Case]:
    """Each names the file `path` and what lies at `address`, in the words of its format."""
    file = f"file:{path}"
    lists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{file}\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "hls-file": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "hls-address": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "hls-key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n',
        "hls-master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}\n#EXT-X-STREAM-INF:BANDWIDTH=2\n{path}\n",
        "concat": f"ffconcat version 1.0\nfile '{path}'\nfile '{address}'\n",
        "concat-address": f"ffconcat version 1.0\nfile '{address}'\n",
        "concat-subfile": f"ffconcat version 1.0\nfile 'subfile,,start,0,end,0,,:{path}'\n",
        "concat-protocol": f"ffconcat version 1.0\nfile 'concat:{path}|{address}'\n",
        "dash": _dash(address),
        "dash-file": _dash(file),
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{address}\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "asx": f'<asx version="3.0"><entry><ref href="{address}"/><ref href="{file}"/></entry></asx>',
        "asf-redirection": f"[Reference]\r\nRef1={address}\r\nRef2={file}\r\n",
        "ram": f"{address}\n{file}\n",
        "pls": f"[playlist]\nFile1={address}\nFile2={file}\n",
        "smil": f'<smil><body><video src="{address}"/><video src="{file}"/></body></smil>',
        "subfile": f"subfile,,start,0,end,0,,:{path}",
        "avisynth": f'FFmpegSource2("{path}")\n',
        "vapoursynth": f'import vapoursynth as vs\nvs.core.ffms2.Source("{path}").set_output()\n',
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/><image href="{file}"/></svg>',
    }
    for name, words in lists.items():
        for called in ("mp4", "mov", "gif") if name in ("hls", "concat", "dash") else ("mp4",):
            yield Case(f"names-{name}.{called}", words.encode(), NOT_READ, filename=f"a.{called}")
    hls, concat = lists["hls"].encode(), lists["concat"].encode()
    for name, magic in (
        ("flv", b"FLV\x01\n"),
        ("mpeg", b"\x00\x00\x01\xba\n"),
        ("mpegvideo", b"\x00\x00\x01\xb3\n"),
        ("wmv", bytes.fromhex("3026b2758e66cf11") + b"\n"),
        ("mp4", b"\0\0\0\x10ftypisom\0\0\0\0\n"),
        ("mov", b"\0\0\0\x08moov\n"),
        ("mkv", b"\x1aE\xdf\xa3\n"),
        ("avi", b"RIFF\xff\xff\0\0AVI \n"),
        ("gif", b"GIF89a\n"),
        ("webp", b"RIFF\xff\xff\0\0WEBP\n"),
        ("jpeg", b"\xff\xd8\xff\xfe\xff\xff\n"),
    ):
        yield Case(f"names-hls-behind-{name}", magic + hls, EITHER, filename=f"a.{name}")
        yield Case(f"names-concat-behind-{name}", magic + concat, EITHER, filename=f"a.{name}")
    yield Case("names-hls-as-stream", _as_stream(hls), EITHER, filename="a.ts")
    yield Case("names-in-mov", _elsewhere(film("mov", "libx264"), path.encode()), DAMAGED)
    yield Case(
        "names-in-mov-address",
        _elsewhere(film("mov", "libx264"), address.encode(), b"url "),
        size=(64, 48),
        film="video/quicktime",
    )
    yield Case("names-in-reference-movie", _reference_movie(address.encode()), EITHER)
    yield Case("names-in-words-of-avi", _words_in_avi(hls), size=(64, 48), film="video/x-msvideo")
    yield Case(
        "names-concat-attached-to-mkv",
        _attached(concat, "text/plain"),
        size=(64, 48),
        film="video/x-matroska",
    )
    yield Case("names-in-the-title", _titled(f"{address} {file}"), size=(64, 48), film="video/x-matroska")


def _dash(base: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
        f'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{base}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )


def _as_stream(words: bytes) -> bytes:
    """Words that have the marks of a transport stream every 188 bytes."""
    return b"".join(b"\x47\n" + words[at : at + 186].ljust(186, b"\n") for at in range(0, 186 * 6, 186))


def _shifted(mov: bytes, at: int, more: bytes) -> bytes:
    """With a box more at `at`, and the places of the chunks behind it corrected."""
    tables = mov.index(b"stco") + 4
    (count,) = struct.unpack_from(">I", mov, tables + 4)
    places = struct.unpack_from(f">{count}I", mov, tables + 8)
    moved = struct.pack(f">{count}I", *(place + len(more) for place in places))
    fixed = mov[: tables + 8] + moved + mov[tables + 8 + 4 * count :]
    return fixed[:at] + more + fixed[at:]


def _covered(mov: bytes, cover: bytes) -> bytes:
    """With a cover that is told of before any track; the film's boxes are `... mdat ... moov`."""
    meta = _full(
        b"meta",
        0,
        _full(b"hdlr", 0, b"\0\0\0\0mdirappl" + bytes(9))
        + _box(b"ilst", _box(b"covr", _box(b"data", struct.pack(">II", 13, 0) + cover))),
    )
    at = mov.rindex(b"moov") + 4
    more = _box(b"udta", meta)
    length = struct.pack(">I", int.from_bytes(mov[at - 8 : at - 4]) + len(more))
    assert at - 8 > mov.index(b"mdat")  # the data stay where they are
    return mov[: at - 8] + length + b"moov" + more + mov[at:]


def _pictures_into(container: Any, count: int = 20) -> None:
    stream: Any = container.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(count):
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _attached(data: bytes, type_: str, *, pictures: bool = True) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        out.add_attachment("cover.jpg" if type_.startswith("image") else "a.mkv", type_, data)
        if pictures:
            _pictures_into(out)
        else:
            _sound_into(out)
    return buffer.getvalue()


def _sound_into(container: Any) -> None:
    stream: Any = container.add_stream("aac", rate=44_100)
    frame = av.AudioFrame(format="fltp", layout="mono", samples=1_024)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate = 44_100
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _words() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        _say(out, out.add_mux_stream("subrip"), b"Hello")
    return buffer.getvalue()


def _say(container: Any, stream: Any, words: bytes) -> None:
    packet = av.Packet(words)
    packet.stream, packet.pts, packet.dts, packet.duration = stream, 0, 0, 1
    packet.time_base = stream.time_base = Fraction(1, 25)
    container.mux(packet)


def _titled(title: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        out.metadata["title"] = title
        _pictures_into(out)
    return buffer.getvalue()


def _words_in_avi(words: bytes) -> bytes:
    """Subtitles as AVI holds them: a file in a packet, of which the demuxer finds out for itself what it is."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as out:
        stream: Any = out.add_mux_stream("mjpeg", rate=25, width=64, height=48)
        file = b"GAB2\0" + struct.pack("<HIHI", 2, 0, 4, len(words)) + words
        pictures: Any = out.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        _say(out, stream, file)
        for number in range(20):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(pictures.encode(frame))
        out.mux(pictures.encode(None))
    return buffer.getvalue().replace(b"vidsMJPG", b"txts\0\0\0\0", 1)


def _elsewhere(mov: bytes, place: bytes, kind: bytes = b"alis") -> bytes:
    """A film whose samples are said to lie in another file: at a path, as the Finder's alias tells it, or an address."""
    told = bytes(4) + place + b"\0"
    if kind == b"alis":  # 150 bytes of volume and folder, then entries, of which that of type 2 is the path
        told = bytes(4 + 150)
        told += struct.pack(">HH", 2, len(place)) + place + b"\0" * (len(place) % 2) + b"\xff\xff\0\0"
    entry = _box(kind, told)
    dref = _box(b"dref", struct.pack(">II", 0, 1) + entry)
    old = mov.index(b"dref") - 4
    length = int.from_bytes(mov[old : old + 4])
    changed = mov[:old] + dref + mov[old + length :]
    for name in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = changed.rindex(name, 0, old) - 4
        size = int.from_bytes(changed[at : at + 4]) + len(dref) - length
        changed = patched(changed, at, struct.pack(">I", size))
    return changed


def _reference_movie(address: bytes) -> bytes:
    told = _full(b"rdrf", 0, b"url " + struct.pack(">I", len(address) + 1) + address + b"\0")
    return _box(b"ftyp", b"qt  \0\0\0\0qt  ") + _box(b"moov", _box(b"rmra", _box(b"rmda", told)))
