"""What a worker and its children say to one another, and how it travels.

Both sides import this file and nothing else of each other. A message is four bytes of length (little endian) and a
tagged msgpack map; descriptors of files and of shared memory travel with the first byte of their message. Only the
worker sends descriptors. Nothing is ever unpickled, a length over `MAX_BYTES` ends the conversation, and what a
child says is checked again by the parent against what it asked for.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

#: Longest message. The largest are a picture's metadata, which `pictures.metadata` keeps far below.
MAX_BYTES: Final = 16 * 1024 * 1024
#: Linux takes 253; a pile of pictures is 200.
_MAX_DESCRIPTORS: Final = 240
_LENGTH: Final = struct.Struct("<I")

Side = Annotated[int, Meta(ge=1, le=1_000_000)]
Channels = Literal[1, 2, 3, 4]
Format = Literal["jpeg", "png", "webp", "avif", "tiff"]
FilmFormat = Literal["mp4", "mov", "mkv", "m4v", "avi", "gif", "webm"]
#: What a segment of a film is coded in; ffv1 loses nothing, and is what GIFs are made of.
FilmCodec = Literal["h264", "hevc", "vp9", "ffv1"]


class Picture(Struct, frozen=True):
    """The shape of raw pixels: rows from the top, interleaved channels, 8 or 16 bits (little endian) each.

    `channels`: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha (not premultiplied).
    """

    width: Side
    height: Side
    channels: Channels
    bits: Literal[8, 16]

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def size_bytes(self) -> int:
        return self.pixels * self.channels * self.bits // 8


class Metadata(Struct, frozen=True, omit_defaults=True):
    """What a file says about its picture, as the bytes that the formats hold; empty where it says nothing."""

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None


class Shot(Struct, frozen=True, omit_defaults=True):
    """How a picture was taken, as its file says; None where it says nothing that makes sense.

    `taken_at`: the camera's own time, `YYYY-MM-DDTHH:MM:SS.fff`, without a zone. `seconds`: of exposure. `bias`: in EV.
    """

    taken_at: str | None = None
    seconds: float | None = None
    aperture: float | None = None
    iso: float | None = None
    bias: float | None = None
    focal_mm: float | None = None
    focal_35mm: float | None = None
    make: str | None = None
    model: str | None = None
    lens: str | None = None


class Colours(Struct, frozen=True):
    """What a film's numbers mean: ITU-T H.273's codes of matrix, primaries and transfer (2: not said), and whether the
    whole range is used.
    """

    matrix: int
    primaries: int
    transfer: int
    full_range: bool


class Limits(Struct, frozen=True):
    """What one piece of work may take: whole seconds of CPU, bytes on top of what is loaded, bytes of one file."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int


class Message(Struct, tag_field="says", tag=True, frozen=True):
    """Anything that is said; its class's name goes along."""


# --- The worker to the codec's template, and back -------------------------------------------------------------------


class Fork(Message, frozen=True):
    """Make a child that listens on the socket sent along."""


class Kill(Message, frozen=True):
    """End the child `pid`, one that the template made and has not reported as ended."""

    pid: int


class Forked(Message, frozen=True):
    """The answer to `Fork`, in the order of asking."""

    pid: int


class Ended(Message, frozen=True):
    """A child is gone: `signal` that ended it, 0 when it left by itself."""

    pid: int
    signal: int


# --- The worker to a codec child: one question, one answer ----------------------------------------------------------


class Probe(Message, frozen=True):
    """Read the header of the file sent along, which was called `filename`; "" where nobody said."""

    limits: Limits
    max_pixels: int
    filename: str = ""


class Decode(Message, frozen=True):
    """Decode the file sent first, which was called `filename`, into the empty memory sent second; reduced,
    where `side` is given, until it is at most that long.
    """

    limits: Limits
    max_pixels: int
    filename: str = ""
    side: int | None = None


class Encode(Message, frozen=True):
    """Encode the pixels sent first into the empty memory sent second."""

    limits: Limits
    picture: Picture
    format: Format
    quality: int
    policy: Literal["keep", "strip", "strip_gps"]
    metadata: Metadata
    dpi: int | None = None


class Canned(Message, frozen=True):
    """Write a picture of that size which shows nothing, into the empty memory sent along."""

    limits: Limits
    width: Side
    height: Side
    format: Format


class CannedFilm(Message, frozen=True):
    """Write a film of that size and a second's length which shows nothing, into the empty file sent along."""

    limits: Limits
    width: Side
    height: Side
    format: FilmFormat


# --- The worker to a codec child that has a film: a question, and what follows ----------------------------------------


class DecodeFilm(Message, frozen=True):
    """Open the film sent along; `Opened` answers, then `Fill`s follow.

    A round has `core` frames, and of those beside it up to `before` and `after`. `resume`: times of the first frame
    that is needed again, and of the first of the first round, where a film goes on.
    """

    limits: Limits
    before: int
    after: int
    resume: tuple[int, int] | None = None


class Opened(Message, frozen=True):
    """`base`: seconds of one tick of its times, as a fraction; `rate`: nominal, frames a second; `seconds`: as its header
    says, for nothing but progress. `bits`: of the pixels that it gives.
    """

    width: Side
    height: Side
    bits: Literal[8, 16]
    base: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]
    rate: Annotated[float, Meta(gt=0)]
    seconds: float
    colours: Colours
    type: str


class Fill(Message, frozen=True):
    """The next round, of at most `core` frames, into the memory sent along, one frame after the other."""

    core: Annotated[int, Meta(ge=1)]


class Filled(Message, frozen=True):
    """`times`: of the frames in the memory, in ticks. Those from `first` on, `count` of them, are the round; `end`: when the
    last of these is over. `over`: the film is. `decoded`: frames so far, those that were left out too.
    """

    times: tuple[int, ...]
    first: int
    count: int
    end: int
    over: bool
    decoded: int


class EncodeFilm(Message, frozen=True):
    """Begin a segment in the file sent along; `Frames` follow, then `Finish`. `in_order`: they are coded in the order in which
    they are shown.
    """

    limits: Limits
    picture: Picture
    codec: FilmCodec
    quality: int
    base: tuple[int, int]
    rate: float
    colours: Colours
    in_order: bool


class Frames(Message, frozen=True):
    """As many frames as there are `times`, one after the other in the memory sent along."""

    times: tuple[int, ...]


class JoinFilm(Message, frozen=True):
    """Begin the whole film in the file sent second; `Segment`s follow, then `Finish`. Its sound is that of the film sent
    first, from `start` to `end` seconds of it. `in_order`: as the segments were coded.
    """

    limits: Limits
    format: FilmFormat
    base: tuple[int, int]
    origin: int
    start: float
    end: float
    in_order: bool


class Segment(Message, frozen=True):
    """The next segment: the file sent along."""


class Taken(Message, frozen=True):
    """The answer to a question or a message that has none of its own."""


class Finish(Message, frozen=True):
    """There is no more; `Encoded` answers."""


class Probed(Message, frozen=True):
    """What the header says; width and height as the picture is meant to be seen. `seconds`, `frame_rate`: of what moves."""

    type: str
    width: Side
    height: Side
    frames: Annotated[int, Meta(ge=1)]
    seconds: Annotated[float, Meta(gt=0)] | None = None
    frame_rate: Annotated[float, Meta(gt=0)] | None = None


class Decoded(Message, frozen=True):
    """Pixels are in the memory. `notes`: what could not be kept -> why, in words for the client."""

    picture: Picture
    type: str
    metadata: Metadata
    notes: dict[str, str]
    shot: Shot = Shot()


class Encoded(Message, frozen=True):
    """The file is in the memory, also of `Canned`. `notes` as in `Decoded`."""

    notes: dict[str, str]


class Failure(Message, frozen=True):
    """It could not be done: a reason from `errors.STATUS_REASONS`, words for the client, and `detail` for the log."""

    reason: str
    message: str
    detail: str = ""


# --- The worker to the inference child, and back --------------------------------------------------------------------


class Start(Message, frozen=True):
    """First message to any child: who its parent is, and what to load before it gives its rights up. `models`: the
    directory of installed networks.
    """

    parent_pid: int
    runners: tuple[str, ...] = ()
    threads: int = 1
    precision: Literal["auto", "bf16", "f32"] = "auto"
    models: str = ""
    device: Literal["auto", "cpu", "cuda", "torch-cpu"] = "cpu"


class Ready(Message, frozen=True):
    """A child has loaded, or says why it did not: `unusable`. `confined`: the fences that stand round it; `facts`: what it
    found out about the machine; `watched`: its address space says nothing, so its memory is for the parent to watch.
    """

    confined: tuple[str, ...]
    facts: dict[str, str]
    watched: bool = False
    unusable: str = ""


class Run(Message, frozen=True):
    """Run the runner: the memories sent along hold the pixels of `pictures`, then room for those of `results`. `mark`: the
    text of watermarks. `alone`: nothing of it is computed in one batch with another job's.
    """

    job: int
    runner: str
    params: msgspec.Raw
    pictures: tuple[Picture, ...]
    shots: tuple[Shot, ...]
    results: tuple[Picture, ...]
    memory_bytes: int
    mark: str = ""
    alone: bool = False


class Cancel(Message, frozen=True):
    """Leave `job`; answered with `Left`, also when it is already over."""

    job: int


class Turn(Message, frozen=True):
    """The child takes up `job`; sent only while it has several, so that a crash can be laid at one door. `beside`: jobs
    whose tiles it computes in the same batch, so that it cannot.
    """

    job: int
    beside: tuple[int, ...] = ()


class Progress(Message, frozen=True):
    job: int
    fraction: Annotated[float, Meta(ge=0, le=1)]


class Done(Message, frozen=True):
    """The work is done. `sizes`: width and height of each result, at most what was asked for; `notes` as in `Decoded`;
    `data`: JSON.
    """

    job: int
    sizes: tuple[tuple[Side, Side], ...]
    notes: dict[str, str] = {}
    data: dict[str, Any] | None = None


class Left(Message, frozen=True):
    job: int


class Broken(Message, frozen=True):
    """The runner failed on `job`; the child lives. `reason` and `message` as in `Failure`."""

    job: int
    reason: str
    message: str
    detail: str


ToTemplate = Fork | Kill
FromTemplate = Forked | Ended
ToCodec = Probe | Decode | Encode | Canned | CannedFilm | DecodeFilm | EncodeFilm | JoinFilm
ThenToCodec = Fill | Frames | Segment | Finish
FromCodec = Probed | Decoded | Encoded | Failure | Opened | Filled | Taken
ToInference = Run | Cancel
FromInference = Turn | Progress | Done | Left | Broken

_encode = msgspec.msgpack.Encoder().encode


class Gone(Exception):
    """The other side has closed, died, or speaks what is not this protocol."""


def pack(message: Message) -> bytes:
    """A whole frame."""
    body = _encode(message)
    if len(body) > MAX_BYTES:
        raise Gone(f"a message of {len(body)} bytes")
    return _LENGTH.pack(len(body)) + body


def length(header: bytes) -> int:
    """The length of the frame that `header` begins.

    Raises:
        Gone: it is over `MAX_BYTES`.
    """
    size: int = _LENGTH.unpack(header)[0]
    if size > MAX_BYTES:
        raise Gone(f"a message of {size} bytes")
    return size


class Channel:
    """The child's end: blocking, one message at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Message) -> None:
        self._sock.sendall(pack(message))

    def receive(self) -> tuple[bytes, Sequence[int]]:
        """The next message's body, for a decoder of the caller's, and the descriptors that came along.

        Raises:
            Gone: the parent closed or died.
        """
        header, descriptors = b"", list[int]()
        while len(header) < _LENGTH.size:
            part, received, _, _ = socket.recv_fds(self._sock, _LENGTH.size - len(header), _MAX_DESCRIPTORS)
            if not part:
                raise Gone("closed")
            header += part
            descriptors += received
        return self._exactly(length(header)), descriptors

    def close(self) -> None:
        self._sock.close()

    def _exactly(self, size: int) -> bytes:
        body = bytearray()
        while len(body) < size:
            part = self._sock.recv(size - len(body))
            if not part:
                raise Gone("closed")
            body += part
        return bytes(body)


class Talk:
    """The child's side of a conversation about a film."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._decode = msgspec.msgpack.Decoder(ThenToCodec).decode

    def said(self) -> tuple[ThenToCodec, int]:
        """What comes next, and the descriptor that came along, which is the caller's to close; -1 for none."""
        body, descriptors = self._channel.receive()
        return self._decode(body), descriptors[0] if descriptors else -1

    def say(self, message: Message) -> None:
        self._channel.send(message)
