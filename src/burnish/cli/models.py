"""`burnish models list|add|pull|remove|test`."""

import argparse
import asyncio
from datetime import UTC, datetime
from pathlib import Path

from burnish import log
from burnish.cli import add_common, add_verb
from burnish.cli.database import command, say, settings_of, table
from burnish.engines import builtin, install, installed, needs
from burnish.engines.install import Known, Tried
from burnish.engines.installed import Network
from burnish.errors import Failed, Unusable
from burnish.outbound import Outbound
from burnish.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="models_verb", metavar="list|add|pull|remove|test", required=True)
    add_verb(verbs, "list", "show the built-in networks and those that were installed, with their licences")
    add = add_verb(verbs, "add", "install a network from a file")
    add.add_argument("name", metavar="NAME", help="what to call it: small letters, digits, '.', '_', '-'")
    add.add_argument(
        "file", metavar="FILE", type=Path, help="an .onnx, or an ncnn .param with its .bin beside it"
    )
    add.add_argument(
        "--sha256",
        required=True,
        nargs="+",
        metavar="HEX",
        help="of the file; of a pair, of the .param and of the .bin",
    )
    add.add_argument(
        "--licence",
        required=True,
        metavar="TEXT",
        help="its licence, in words or as @FILE; it is shown by 'list'",
    )
    add.add_argument(
        "--convention", choices=("u2net", "isnet"), default="none",
        help="how it wants its pictures (default: by the size that it takes, 320 or 1024)",
    )  # fmt: skip
    add_verb(verbs, "pull", "fetch a known network and install it").add_argument(
        "name", metavar="NAME", help="of a network that is known here"
    )
    for verb, meaning in (
        ("remove", "remove an installed network"),
        ("test", "run an installed network once"),
    ):
        add_verb(verbs, verb, meaning).add_argument("name", metavar="NAME", help="as 'models list' shows it")
    for made in verbs.choices.values():
        add_common(made)


def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    log.start(level="error", format=settings.log.format)
    folder = settings.models_folder
    match options.models_verb:
        case "list":
            return _list(options, folder)
        case "add":
            found = asyncio.run(_add(options, folder))
            return _added(options, *found)
        case "pull":
            found = asyncio.run(_pull(settings, options.name))
            return _added(options, *found)
        case "remove":
            install.remove(folder, options.name)
            say(options, {"removed": options.name}, f"{options.name} is removed.{_NOTICED}")
        case "test":
            network, tried = asyncio.run(install.trial(folder, options.name))
            say(
                options,
                {"network": network, "trial": tried},
                f"{network.name} works: {_words(network, tried)}.",
            )
    return 0


_NOTICED = " A service that runs notices within seconds."


def _list(options: argparse.Namespace, folder: Path) -> int:
    built_in, own = builtin.networks(), installed.networks(folder)
    rows: list[tuple[str, str, str, str, str]] = [
        (one.name, one.used_for, f"{one.size_bytes / 1e6:.1f} MB" if one.there else "-",
         "built in" if one.there else "not installed", one.licence)
        for one in built_in
    ]  # fmt: skip
    rows += [
        (
            one.name,
            _used_for(one),
            f"{one.size_bytes / 1e6:.1f} MB",
            "installed",
            one.licence.partition("\n")[0],
        )
        for one in own
    ]
    text = table(("NETWORK", "FOR", "SIZE", "STATE", "LICENCE"), rows)
    lacks = [one.how_to_install for one in built_in if not one.there and one.how_to_install]
    if not any(one.purpose == "cutout" for one in own):
        lacks.append(needs.NETWORKS["objects"].how)
    text += "".join(f"\n\n{line}" for line in dict.fromkeys(lacks))
    say(options, {"built_in": built_in, "installed": own}, text)
    return 0


def _used_for(network: Network) -> str:
    return "cutout, of: any" if network.purpose == "cutout" else "nothing yet"


async def _add(options: argparse.Namespace, folder: Path) -> tuple[Network, Tried]:
    file: Path = options.file
    paths = [file, file.with_suffix(".bin")] if file.suffix.lower() == ".param" else [file]
    return await install.add(
        folder, options.name, paths, options.sha256,
        licence=_licence(options.licence), convention=options.convention, now=datetime.now(UTC),
    )  # fmt: skip


def _licence(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"The licence {given[1:]} cannot be read: {error}") from error


async def _pull(settings: Settings, name: str) -> tuple[Network, Tried]:
    known: dict[str, Known] = install.known()
    if name not in known:
        there = (
            f"Known: {', '.join(known)}." if known else "None is known to this version, whose table is empty."
        )
        raise Unusable(
            f"No network {name!r} can be fetched by its name. {there} Fetch it yourself and use `models add`."
        )
    outbound = Outbound(settings.outbound)
    try:
        return await install.pull(settings.models_folder, known[name], outbound, datetime.now(UTC))
    except Failed as failed:
        raise Unusable(f"{known[name].url} was not fetched: {failed.message}") from failed
    finally:
        await outbound.close()


def _added(options: argparse.Namespace, network: Network, tried: Tried) -> int:
    text = f"{network.name} is installed: {_words(network, tried)}.{_NOTICED}"
    if network.purpose == "none":
        text += " No model of this version works with it."
    say(
        options,
        {"network": network, "trial": tried},
        f"{text}\nTry it: {command(options, 'models', 'test', network.name)}",
    )
    return 0


def _words(network: Network, tried: Tried) -> str:
    size = f"{network.size_bytes / 1e6:.1f} MB"
    if network.format != "onnx":
        return f"{network.format}, {size}, every byte of it read"
    return (
        f"{network.format}, {size}, pictures of {tried.side} pixels a side as {tried.convention} wants them, "
        f"{tried.seconds:.2f} s a picture ({tried.first_seconds:.2f} s the first)"
    )
