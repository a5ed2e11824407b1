"""HiAPI's API: one asynchronous endpoint for every model, polled by id or told of by a callback."""
