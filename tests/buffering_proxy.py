"""A proxy that holds replies back, as some do: until so many bytes have gathered, or until the reply has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def buffering(port: int, hold: int | None) -> AsyncIterator[str]:
    """The address of one before this port of this machine. `hold`: bytes that must have gathered; None: all."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", port)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            # One request a connection: then its end is the reply's end.
            upstream.write(
                head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1).replace(b"keep-alive", b"close")
            )
            sending = asyncio.create_task(_copy(reader, upstream))
            try:
                held = b""
                while chunk := await upstream_reader.read(65_536):
                    held += chunk
                    if hold is not None and len(held) >= hold:
                        writer.write(held)
                        held = b""
                        await writer.drain()
                writer.write(held)
                await writer.drain()
            finally:
                sending.cancel()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            upstream.close()
            serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()  # the client has gone: so has its request
