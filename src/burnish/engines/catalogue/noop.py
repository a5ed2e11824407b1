"""`noop`: models of which clients are not told, that do nothing, for tests and benches."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import IN_THE_WORKER, Model, Source


class Noop(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `noop`: wait, then end well or with the reason named by `fail`."""

    seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    fail: Annotated[str, Meta(max_length=64)] = ""


class NoopSources(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `noop-sources`: say what was given, once for each role."""

    images: Annotated[list[Source], Meta(max_length=200)] = []
    roles: tuple[Annotated[str, Meta(max_length=40)], ...] = ("",)


MODELS: Final = (
    Model(
        name="noop",
        description="Does nothing, for tests and benches.",
        runner=IN_THE_WORKER,
        lane="light",
        parameters=Noop,
        price="noop",
        sources=(),
        public=False,
    ),
    Model(
        name="noop-heavy",
        description="Does nothing, in the lane of heavy models.",
        runner=IN_THE_WORKER,
        lane="heavy",
        parameters=Noop,
        price="noop",
        sources=(),
        public=False,
    ),
    Model(
        name="noop-sources",
        description="Says what it was given.",
        runner=IN_THE_WORKER,
        lane="light",
        parameters=NoopSources,
        price="photo-standard",
        sources=("images",),
        public=False,
    ),
)
