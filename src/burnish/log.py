"""One structured line per request, task step and delivery; secrets are redacted here, for everyone.

`start` is called once a process. Lines go to standard error: JSON for machines, text on a terminal.
"""

import asyncio
import atexit
import contextlib
import functools
import logging
import os
import re
import sys
import time
from typing import Any, Final, TextIO

import msgspec
import structlog

#: What must never be printed, wherever it stands: our keys, webhook secrets, signatures, passwords in URLs.
_SECRETS: Final = re.compile(
    r"(bk_(?:live|test|dev)_)[0-9A-Za-z]{8,}|(whsec_)[\w+/=-]+|((?:signature|sig|token|x-amz-signature)=)[^&\s\"']+"
    r"|(://[^/\s:@]*:)[^@/\s]+(?=@)",
    re.IGNORECASE,
)
_SECRET_NAMES: Final = re.compile(r"authorization|apikey|api_key|password|secret", re.IGNORECASE)
_ENCODE: Final = msgspec.json.Encoder(enc_hook=str).encode


def start(*, level: str, format: str) -> None:  # noqa: A002 - the setting's name
    """Send this process's lines to standard error. `format`: json, text, or auto."""
    text = format == "text" or (format == "auto" and sys.stderr.isatty())
    processors: list[Any] = [_as_json]
    if text:
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(),
        ]
    lines = _Lines(sys.stderr)
    global _quick  # noqa: PLW0603 - one log a process
    _quick = None if text or level.upper() not in {"DEBUG", "INFO"} else lines
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)


class _Lines:
    """Where lines go. What one turn of the event loop says is written at its end, at once: a hundred requests that were
    admitted together are one write. Only a process that is killed in that very turn takes its last lines along.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []
        atexit.register(self._write_all)
        os.register_at_fork(after_in_child=self._waiting.clear)

    def msg(self, line: str) -> None:
        if self._waiting:
            self._waiting.append(line)
            return
        try:
            asyncio.get_running_loop().call_soon(self._write_all)
        except RuntimeError:  # no loop runs in this thread
            self._write(line + "\n")
        else:
            self._waiting.append(line)

    log = debug = info = warn = warning = error = err = critical = fatal = failure = exception = msg

    def _write_all(self) -> None:
        if self._waiting:
            text = "\n".join(self._waiting) + "\n"
            self._waiting.clear()
            self._write(text)

    def _write(self, text: str) -> None:
        with contextlib.suppress(
            OSError, ValueError
        ):  # nobody reads them any more: no reason to fail a request
            self._file.write(text)
            self._file.flush()


def _as_json(logger: object, method: str, line: structlog.typing.EventDict) -> str:
    """The whole line, in one step and not in six: that is 4 of 10 microseconds."""
    line["level"] = method
    line["timestamp"] = _timestamp()
    if "exc_info" in line:
        line = structlog.processors.format_exc_info(logger, method, line)
    text = _ENCODE(line).decode()
    if _name_secrets(tuple(line)) or _may_hold_secrets(text):
        text = _ENCODE(redact(logger, method, line)).decode()
    return text


def _timestamp() -> str:
    now = time.time()
    return f"{_second(int(now))}.{int(now % 1 * 1_000_000):06d}Z"


@functools.lru_cache(maxsize=2)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def redact(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take secrets out of a line: by the name of the member, and by their look anywhere in a text."""
    for name, value in line.items():
        if _is_secret_name(name):
            line[name] = "[redacted]"
        elif isinstance(value, str) and _may_hold_secrets(value):
            line[name] = redact_text(value)
    return line


def _may_hold_secrets(text: str) -> bool:
    """Whether a sign of what the pattern finds is there; looking for them is the quicker way to know."""
    lower = text.lower()
    return "=" in lower or "://" in lower or "bk_" in lower or "whsec_" in lower


@functools.lru_cache(maxsize=1024)
def _name_secrets(names: tuple[str, ...]) -> bool:
    return any(map(_is_secret_name, names))


@functools.lru_cache(maxsize=1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def redact_text(text: str) -> str:
    """`text` with every secret in it replaced; the part that tells what it was stays."""
    return _SECRETS.sub(lambda found: "".join(group or "" for group in found.groups()) + "[redacted]", text)


_quick: _Lines | None = None  #: where lines go as they are, in JSON and at this level


def request(
    method: str, route: str, status: int, milliseconds: float, id_: str, account: str | None, code: str | None
) -> None:
    """The line of one request. Every request has one, so it goes around what makes loggers convenient.

    All of it is words of ours, never the client's: there is nothing to escape in it, and no secret to take out.
    """
    if _quick is None:
        known = {name: value for name, value in (("account", account), ("code", code)) if value is not None}
        _requests.info(
            "request", method=method, route=route, status=status, ms=milliseconds, request_id=id_, **known
        )
        return
    of = f',"account":"{account}"' if account is not None else ""
    why = f',"code":"{code}"' if code is not None else ""
    _quick.msg(
        f'{{"part":"http","method":"{method}","route":"{route}","status":{status},"ms":{milliseconds},"request_id":"{id_}"'
        f'{of}{why},"event":"request","level":"info","timestamp":"{_timestamp()}"}}'
    )


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a part, named in every line as `part`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


_requests: Final = get("http")
