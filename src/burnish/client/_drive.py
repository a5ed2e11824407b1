"""The two drivers: flows are driven here, and nowhere else is there one thing for blocking and one for awaiting.

`@verb` turns a flow into a method: it blocks where its resource is `Blocking`, and is awaited where it is
`Awaiting`. `@pages` does so for lists, which fetch their next page when it is reached.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from burnish.client._flow import Effect, Enter, Flow, Page, Pause
from burnish.client._remote import Remote

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """A resource whose methods block."""

    def __init__(self, remote: Remote, http: httpx.Client, sleep: Callable[[float], object]) -> None:
        self._remote = remote
        self._http = http
        self._sleep = sleep

    def _drive(self, flow: Flow[T]) -> T:
        """What the flow ends with."""
        with closing(flow):
            try:
                effect = next(flow)
                while True:
                    try:
                        answer = self._perform(effect)
                    except httpx.RequestError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    def _each(self, flow: Flow[Page[T]]) -> Iterator[T]:
        """The items of the flow's page, and of all that follow it."""
        rest: Flow[Page[T]] | None = flow
        while rest is not None:
            page = self._drive(rest)
            yield from page.items
            rest = page.rest

    def _perform(self, effect: Effect) -> httpx.Response | None:
        if isinstance(effect, Pause):
            self._sleep(effect.seconds)
            return None
        if isinstance(effect, Enter):
            inside = threading.Event()
            effect.turn.await_(inside.set)
            inside.wait()
            return None
        follow = effect.receive is not None
        response = self._http.send(effect.request, stream=True, follow_redirects=follow)
        try:
            if effect.receive is None or not response.is_success:
                response.read()
            else:
                sink = effect.receive(response)
                for chunk in response.iter_raw():
                    sink(chunk)
        finally:
            response.close()
        return response


class Awaiting:
    """A resource whose methods are awaited."""

    def __init__(
        self, remote: Remote, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._remote = remote
        self._http = http
        self._sleep = sleep

    async def _drive(self, flow: Flow[T]) -> T:
        """What the flow ends with."""
        with closing(flow):
            try:
                effect = next(flow)
                while True:
                    try:
                        answer = await self._perform(effect)
                    except httpx.RequestError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _each(self, flow: Flow[Page[T]]) -> AsyncIterator[T]:
        """The items of the flow's page, and of all that follow it."""
        rest: Flow[Page[T]] | None = flow
        while rest is not None:
            page = await self._drive(rest)
            for item in page.items:
                yield item
            rest = page.rest

    async def _perform(self, effect: Effect) -> httpx.Response | None:
        if isinstance(effect, Pause):
            await self._sleep(effect.seconds)
            return None
        if isinstance(effect, Enter):
            inside = asyncio.Event()
            effect.turn.await_(inside.set)
            await inside.wait()
            return None
        follow = effect.receive is not None
        response = await self._http.send(effect.request, stream=True, follow_redirects=follow)
        try:
            if effect.receive is None or not response.is_success:
                await response.aread()
            else:
                sink = effect.receive(response)
                async for chunk in response.aiter_raw():
                    sink(chunk)
        finally:
            await response.aclose()
        return response


class verb(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method that drives its flow to the end. `Resource.method.flow` is the flow, for other flows to use."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, it: None, owner: type) -> Self: ...
    @overload
    def __get__(self, it: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, it: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, it: Any, owner: type) -> Any:
        return self if it is None else _bound(self.flow, it, it._drive)  # noqa: SLF001 -- of this module


class pages(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method that iterates over all items, page after page."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[Page[T]]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, it: None, owner: type) -> Self: ...
    @overload
    def __get__(self, it: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, it: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, it: Any, owner: type) -> Any:
        return self if it is None else _bound(self.flow, it, it._each)  # noqa: SLF001


def _bound(flow: Callable[..., Any], it: object, drive: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(flow)
    def method(*args: Any, **kwargs: Any) -> Any:
        return drive(flow(it, *args, **kwargs))

    return method
