"""Where a server is, as people type it: ``http://127.0.0.1:8080/v1?model=NAME``."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from inferloom_worker.engines.sidecar.key import KeySource, in_file, in_variable, no_key
from inferloom_worker.engines.sidecar.kinds import ServerKind

TASKS = ("chat", "completion", "embed", "rerank")

_OPTIONS = ("model", "kind", "key_env", "key_file", "slots", "tasks", "silence_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A server, and what is said of it beside its address."""

    root: str
    """Its address without ``/v1``, where its own endpoints are."""
    api: str
    """Where OpenAI's endpoints are."""
    model: str | None = None
    """The model's name there. None: the only one that it serves."""
    kind: ServerKind | None = None
    """None: found out."""
    key_env: str | None = None
    """Variable of the environment that has the key to it."""
    key_file: Path | None = None
    """File that has it."""
    slots: int | None = None
    """Requests that it is sent at once. None: as many as it says, else as many as the worker runs."""
    tasks: tuple[str, ...] = ()
    """What its model does, of :data:`TASKS`. Empty: found out."""
    silence_s: float = 600.0
    """How long an answer may have no news before it is given up."""

    @classmethod
    def parse(cls, spec: str, *, keys_allowed: bool = True) -> Self:
        """Read a URL with options as its query.

        Args:
            spec: The URL.
            keys_allowed: Whether it may name a key. Who chooses the server is sent the key too, so that one
                that comes in a call may not.

        Raises:
            ValueError: It is no such URL; the message says why, and repeats nothing that could be a secret.
        """
        if " " in spec or not spec.isprintable():
            # Parsers pass over some of these, so that what is read would not be what is seen.
            raise ValueError("a server's address has no spaces and no control characters")
        try:
            url = urlsplit(spec)
            port = url.port
        except ValueError:
            raise ValueError("the server's address is no URL") from None
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("a server is given as http://HOST:PORT/v1?model=NAME")
        if url.username is not None or url.password is not None:
            raise ValueError(
                "a key does not belong in a URL; name it with ?key_env=VARIABLE or ?key_file=PATH"
            )
        if url.fragment:
            raise ValueError("a server's address has no part after '#'")
        options = _options(url.query)
        if not keys_allowed and ("key_env" in options or "key_file" in options):
            raise ValueError("a server's key is named where the worker is started, and not by a call")
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        base = f"{url.scheme}://{host}" + (f":{port}" if port is not None else "")
        path = url.path.rstrip("/")
        root = base + path.removesuffix("/v1")
        kind = options.get("kind")
        return cls(
            root=root,
            api=base + path if path else f"{root}/v1",
            model=options.get("model") or None,
            kind=None if kind is None else _kind(kind),
            key_env=options.get("key_env"),
            key_file=Path(options["key_file"]).expanduser() if "key_file" in options else None,
            slots=None if "slots" not in options else int(_number("slots", options["slots"], 1, 65_536)),
            tasks=_tasks(options.get("tasks", "")),
            silence_s=_number("silence_s", options.get("silence_s", "600"), 1, 86_400),
        )

    def is_at(self, hosts: Collection[str]) -> bool:
        """Whether it is at one of these, each of them ``HOST`` or ``HOST:PORT``."""
        url = urlsplit(self.root)
        host = url.netloc if url.port is None else url.netloc.rpartition(":")[0]
        port = url.port or (443 if url.scheme == "https" else 80)
        return host in hosts or f"{host}:{port}" in hosts

    def key_source(self) -> KeySource:
        """Gives the key to the server as it is at the time: a file that holds it may be replaced.

        Raises:
            ValueError: It cannot be read, or is none.
        """
        if self.key_env is not None:
            return in_variable(self.key_env)
        return no_key if self.key_file is None else in_file(self.key_file)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise ValueError(f"{name[:64]!r} is no option of a server; there are {', '.join(_OPTIONS)}")
        if name in options:
            raise ValueError(f"the option {name} is there twice")
        options[name] = value
    if "key_env" in options and "key_file" in options:
        raise ValueError("key_env and key_file exclude each other")
    return options


def _kind(name: str) -> ServerKind:
    try:
        return ServerKind(name)
    except ValueError:
        known = ", ".join(kind.value for kind in ServerKind)
        raise ValueError(f"kind is one of {known}, not {name[:64]!r}") from None


def _tasks(text: str) -> tuple[str, ...]:
    tasks = tuple(text.split())  # a plus in a query is a space
    if unknown := [task for task in tasks if task not in TASKS]:
        raise ValueError(f"tasks are {'+'.join(TASKS)}, not {unknown[0][:64]!r}")
    return tasks


def _number(name: str, text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise ValueError(f"{name} must be a number between {least:g} and {most:g}")
    return value
