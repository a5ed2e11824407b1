"""Every setting: its name, its default, its unit and what it means.

Read once at start by the command line (`read`), frozen, and passed down; nothing reads the environment later.
Sources, later over earlier: the defaults here, `burnish.toml` (in the working directory, in the data directory,
or named by `BURNISH_CONFIG`), `BURNISH_<SECTION>_<NAME>` variables, options of the command line.
`docs/reference/settings.md` is made from this file.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

from burnish.errors import Unusable


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    url: str = _setting(
        "", "PostgreSQL to use (`postgresql://…`). Empty: an embedded one in the data directory."
    )
    listen_url: str = _setting("", "Where to LISTEN, when `url` goes through a pooler. Empty: `url`.")
    connections: int = _setting(8, "Connections a process keeps at most.")
    os_user: str = _setting(
        "", "As root, the system user that runs the embedded server. Empty: burnish, postgres or nobody."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on; 0 takes a free one.")
    public_url: str = _setting(
        "", "How clients reach this service; every link is made from it. Empty: host and port."
    )
    body_bytes: int = _setting(1_048_576, "Largest JSON body, in bytes.")
    wait_seconds: int = _setting(60, "Longest `?wait=` of a reading request, in seconds.")
    idle_seconds: int = _setting(20, "An upload that sends nothing for this long is cut, in seconds.")
    trusted_proxies: tuple[str, ...] = _setting(
        (), "Networks (CIDR) of proxies whose `X-Forwarded-For` names the client; others' is not believed."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    url: str = _setting(
        "",
        "Where requests are counted. Empty: in each API process. For several: Redis or Valkey, "
        "`redis://user:password@host:port/database`, `redis+cluster://host:port,host:port` or "
        "`redis+sentinel://host:port,host:port/service`; with TLS `rediss…`, also as `valkey…`.",
    )
    processes: int = _setting(1, "API processes that share a limit when counters are in memory.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    ip_per_second: int = _setting(300, "Requests a second of one client address (IPv6: of one /64).")
    ip_burst: int = _setting(300, "Requests of one client address that may come at once.")
    ip_when_down: str = _setting(
        "local", "While the counters' store is away: local (each process counts alone), open or closed (503)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    max_bytes: int = _setting(536_870_912, "Largest upload or fetched input, in bytes.")
    arrival_seconds: int = _setting(3_600, "How long a promised upload waits for its bytes, in seconds.")
    retention_seconds: int = _setting(604_800, "How long inputs and outputs are kept, in seconds.")
    renditions: int = _setting(32, "Forms that links to one file may ask for.")
    tombstone_seconds: int = _setting(
        2_592_000, "How long an expired object answers 410 before 404, in seconds."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    max_attempts: int = _setting(3, "Runs of a task whose worker was lost, before it fails.")
    deadline_seconds: int = _setting(
        900, "Longest one run of a task may take unless its request says less, in seconds."
    )
    film_deadline_seconds: int = _setting(86_400, "The same of a task on a film, in seconds.")
    lease_seconds: int = _setting(
        15, "A worker that has not renewed for this long has lost its task, in seconds."
    )
    batch_rows: int = _setting(256, "Submissions, claims or endings written in one transaction, at most.")
    batch_bytes: int = _setting(4_194_304, "Input bytes written in one transaction, at most.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    processes: int = _setting(1, "Worker processes that `burnish serve` starts.")
    fetches: int = _setting(8, "Inputs a worker fetches or probes at once.")
    light: int = _setting(1, "Light tasks a worker runs at once.")
    heavy: int = _setting(1, "Heavy tasks a worker runs at once.")
    sweep_seconds: int = _setting(10, "Pause between two sweeps of what time undoes, in seconds.")
    poll_seconds: float = _setting(
        5.0, "A worker looks for work this often even when nothing is notified, in seconds."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    device: str = _setting(
        "auto",
        (
            "Where networks run: cpu, cuda (an NVIDIA GPU, by torch), or auto: cuda where there is one and torch is "
            "installed. torch-cpu is for tests."
        ),
    )
    precision: str = _setting("auto", "bf16, f32, or auto: bf16 where the processor has it.")
    threads: int = _setting(0, "Threads of a network, over all tasks of a worker; 0: the cores it may use.")
    max_pixels: int = _setting(70_000_000, "Largest image taken in, in pixels.")
    max_output_pixels: int = _setting(432_000_000, "Largest image made, in pixels.")
    watermark: str = _setting("preview", "The text of watermarks.")
    segment_seconds: float = _setting(
        10.0, "Film that is finished at one time, in seconds: what a lost worker loses of it."
    )
    memory_bytes: int = _setting(
        8_589_934_592, "Address space a child may add to what it has loaded, in bytes."
    )
    models: str = _setting("", "Directory of installed networks. Empty: `models` in the data directory.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    allow: tuple[str, ...] = _setting(
        (), "Networks (CIDR) and host names that are reached although they are not public."
    )
    nameserver: str = _setting(
        "", "DNS server (`address:port`) for names that clients gave. Empty: the system's."
    )
    connect_seconds: float = _setting(5.0, "Time to connect, in seconds.")
    idle_seconds: float = _setting(10.0, "Longest pause while bytes come, in seconds.")
    slowest_bytes: int = _setting(
        65_536, "Slowest transfer taken, in bytes per second; with the size it gives the total time."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialects:
    hitpaw_host: str = _setting("", "Host name at whose root HitPaw's API is served, beside `/hitpaw`.")
    hiapi_host: str = _setting("", "Host name at whose root HiAPI's API is served, beside `/hiapi`.")
    autoenhance_host: str = _setting(
        "", "Host name at whose root Autoenhance's API is served, beside `/autoenhance`."
    )
    substitute: bool = _setting(
        True, "Where nothing here does what a vendor's model does, take what comes closest; false: refuse it."
    )
    hitpaw_models: str = _setting(
        "", "File that says what does the work of HitPaw's models. Empty: the shipped one."
    )
    hiapi_models: str = _setting(
        "", "File that says what does the work of HiAPI's models. Empty: the shipped one."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    format: str = _setting("auto", "json, text, or auto: text on a terminal.")
    level: str = _setting("info", "debug, info, warning or error.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    data: Path = _setting(Path(), "Directory of everything this machine keeps.")
    secret_keys: tuple[str, ...] = _setting(
        (), "Keys that links and secrets are derived from, newest first. Empty: made in the data directory."
    )
    blobs_url: str = _setting(
        "", "Where media lies (`file:///…`, `memory:///`). Empty: `blobs` in the data directory."
    )
    plans: str = _setting("", "File of plans. Empty: the shipped ones.")
    prices: str = _setting("", "File of prices. Empty: the shipped ones.")
    testing: bool = _setting(
        False, "Tests only: an offset in the database moves the time, and the no-op model may be asked for."
    )
    database: Database = field(default_factory=Database)
    http: Http = field(default_factory=Http)
    counters: Counters = field(default_factory=Counters)
    limits: Limits = field(default_factory=Limits)
    uploads: Uploads = field(default_factory=Uploads)
    tasks: Tasks = field(default_factory=Tasks)
    workers: Workers = field(default_factory=Workers)
    engines: Engines = field(default_factory=Engines)
    outbound: Outbound = field(default_factory=Outbound)
    dialects: Dialects = field(default_factory=Dialects)
    log: Log = field(default_factory=Log)

    @property
    def public_url(self) -> str:
        """The root of every link, without a closing slash."""
        if self.http.public_url:
            return self.http.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.http.host, self.http.host)  # noqa: S104
        return f"http://{host}:{self.http.port}"

    @property
    def models_folder(self) -> Path:
        """Where installed networks lie."""
        return Path(self.engines.models).absolute() if self.engines.models else self.data / "models"


def default_data() -> Path:
    """`/var/lib/burnish` for root, the user's own data folder otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/burnish")
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "burnish"


def read(environ: Mapping[str, str], options: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the defaults, the file, the environment and the command line's options (`http.port` -> value).

    Raises:
        Unusable: a file that cannot be read, an unknown name, or a value of another kind; the message names it.
    """
    given: dict[str, Any] = {k: v for k, v in (options or {}).items() if v is not None}
    data = Path(given.get("data") or environ.get("BURNISH_DATA") or default_data()).absolute()
    values = {**_from_file(_file(environ, data)), **_from_environment(environ), **given, "data": data}
    return _build(values)


def _file(environ: Mapping[str, str], data: Path) -> Path | None:
    if named := environ.get("BURNISH_CONFIG"):
        if not Path(named).is_file():
            raise Unusable(f"BURNISH_CONFIG names {named}, which is not a file.")
        return Path(named)
    candidates = (Path("burnish.toml"), data / "burnish.toml")
    return next((path for path in candidates if path.is_file()), None)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    unknown = sorted(flat.keys() - _names())
    if unknown:
        raise Unusable(f"{path} sets {', '.join(unknown)}, which Burnish does not know.")
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {"BURNISH_" + name.replace(".", "_").upper(): name for name in _names()}
    return {variables[key]: value for key, value in environ.items() if key in variables}


def _names() -> set[str]:
    names = set()
    for item in fields(Settings):
        section: Any = item.default_factory
        if isinstance(section, type) and is_dataclass(section):
            names |= {f"{item.name}.{inner.name}" for inner in fields(section)}
        else:
            names.add(item.name)
    return names


def _build(values: Mapping[str, Any]) -> Settings:
    settings: Any = Settings()
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        owner = getattr(settings, section) if section else settings
        kind = next((f.type for f in fields(owner) if f.name == key), None)
        if kind is None:
            raise Unusable(f"There is no setting called {name}.")
        changed = replace(owner, **{key: _value(name, kind, value)})
        settings = replace(settings, **{section: changed}) if section else changed
    assert isinstance(settings, Settings)
    return settings


def _value(name: str, kind: Any, value: Any) -> Any:
    """`value` as the setting's kind; words from the environment are read, other kinds are refused."""
    try:
        if get_origin(kind) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(get_args(kind)[0](part).strip() for part in parts if str(part).strip())
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if kind is int and isinstance(value, float):
            raise ValueError  # noqa: TRY301
        return kind(value)
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(f"The setting {name} is {value!r}; it wants {_words(kind)}.") from error


def _words(kind: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(
        kind, "text or a list of texts"
    )
