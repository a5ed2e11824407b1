"""Examples of timelines and of keeping, for the documentation."""

from datetime import timedelta
from typing import Final

from burnish.dialects.native import events_wire as words
from burnish.dialects.native.examples import ENDED_TASK

_AT: Final = ENDED_TASK.created_at

TIMELINE: Final = words.TimelineReply(
    id=ENDED_TASK.id,
    request_id="req_01keyqsw000000000000000000",
    attempts=1,
    data=[
        words.TimelineEntry(at=_AT, event="submitted", attempt=None, reason=None),
        words.TimelineEntry(at=_AT, event="queued", attempt=None, reason=None),
        words.TimelineEntry(at=_AT + timedelta(seconds=1), event="started", attempt=1, reason=None),
        words.TimelineEntry(at=_AT + timedelta(seconds=4), event="succeeded", attempt=1, reason=None),
    ],
)
KEEP_REQUEST: Final = words.KeepRequest(retention_seconds=604_800)
RECEIPT: Final = words.ReceiptReply(
    id=ENDED_TASK.id, deleted_at=_AT + timedelta(hours=1), outputs=1, bytes=734_003
)
