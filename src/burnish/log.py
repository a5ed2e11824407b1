"""One structured line per request, task step and delivery; secrets are redacted here, for everyone.

`start` is called once a process. Lines go to standard error: JSON for machines, text on a terminal.
"""

import functools
import logging
import re
import sys
from typing import Any, Final

import msgspec
import structlog

#: What must never be printed, wherever it stands: our keys, webhook secrets, signatures, passwords in URLs.
_SECRETS: Final = re.compile(
    r"(bk_(?:live|test|dev)_)[0-9A-Za-z]{8,}|(whsec_)[\w+/=-]+|((?:signature|sig|token|x-amz-signature)=)[^&\s\"']+"
    r"|(://[^/\s:@]*:)[^@/\s]+(?=@)",
    re.IGNORECASE,
)
_SECRET_NAMES: Final = re.compile(r"authorization|apikey|api_key|password|secret", re.IGNORECASE)
#: A text without any of these holds no secret that the pattern finds; looking for them is the quicker way to know.
_SIGNS: Final = ("bk_", "whsec_", "=", "://")


def start(*, level: str, format: str) -> None:  # noqa: A002 - the setting's name
    """Send this process's lines to standard error. `format`: json, text, or auto."""
    text = format == "text" or (format == "auto" and sys.stderr.isatty())
    render: Any = (
        structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer(serializer=_as_json)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)


def _as_json(line: object, **_: object) -> str:
    return msgspec.json.encode(line, enc_hook=str).decode()


def redact(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take secrets out of a line: by the name of the member, and by their look anywhere in a text."""
    for name, value in line.items():
        if _is_secret_name(name):
            line[name] = "[redacted]"
        elif isinstance(value, str) and any(sign in value.lower() for sign in _SIGNS):
            line[name] = redact_text(value)
    return line


@functools.lru_cache(maxsize=1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def redact_text(text: str) -> str:
    """`text` with every secret in it replaced; the part that tells what it was stays."""
    return _SECRETS.sub(lambda found: "".join(group or "" for group in found.groups()) + "[redacted]", text)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a part, named in every line as `part`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
