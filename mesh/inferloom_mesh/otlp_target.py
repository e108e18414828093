"""Where traces go by OTLP, and how: from our own setting and OpenTelemetry's variables."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

GRPC = "grpc"
HTTP = "http/protobuf"

GRPC_PORT = 4317
"""OTLP's own port for gRPC; HTTP has 4318."""

_PREFIX = "OTEL_EXPORTER_OTLP_"
_PATH = "/v1/traces"


class TracingError(OSError):
    """Traces cannot be sent as somebody has asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver of traces."""

    protocol: str
    """``grpc`` or ``http/protobuf``."""
    url: str
    """The address that is posted to, or ``host:port`` for gRPC."""
    shown: str
    """The same for people: without what may be a password in it."""
    headers: tuple[tuple[str, str], ...] = ()
    tls: bool = False
    authority: Path | None = None
    """A file with the authorities that its certificate must be from; None: those of the system."""
    certificate: tuple[Path, Path] | None = None
    """Files with the certificate and the key that are shown to it."""


def target(endpoint: str | None, environment: Mapping[str, str] = os.environ) -> Target | None:
    """Where traces go; None: nowhere, because nobody has named a place, or ``OTEL_SDK_DISABLED`` or
    ``OTEL_TRACES_EXPORTER=none`` say so.

    ``endpoint`` is our own setting; without it ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` and
    ``OTEL_EXPORTER_OTLP_ENDPOINT`` count. Headers are read from ``OTEL_EXPORTER_OTLP_HEADERS`` only, which
    nobody sees on a command line. Each of these variables has a form with ``TRACES_``, which comes first.

    Raises:
        TracingError: The address or a variable is of no use.
    """

    def given(name: str) -> str:
        return environment.get(f"{_PREFIX}TRACES_{name}") or environment.get(f"{_PREFIX}{name}") or ""

    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or environment.get("OTEL_TRACES_EXPORTER", "").lower() == "none":
        return None
    exact = not endpoint and bool(environment.get(f"{_PREFIX}TRACES_ENDPOINT"))
    text = endpoint or given("ENDPOINT")
    if not text:
        return None
    url = _split(text)
    protocol = given("PROTOCOL") or (GRPC if url.port == GRPC_PORT else HTTP)
    if protocol not in (GRPC, HTTP):
        raise TracingError(f"{_PREFIX}PROTOCOL is {protocol!r}: {GRPC} and {HTTP} are served")
    if (compression := given("COMPRESSION")) not in ("", "none"):
        raise TracingError(
            f"{_PREFIX}COMPRESSION is {compression!r}: traces are sent as they are; write none"
        )
    host = url.hostname or ""
    shown = f"{f'[{host}]' if ':' in host else host}:{_port(url, protocol)}"
    where = shown
    if protocol == HTTP:
        path = url.path if exact and url.path else url.path.rstrip("/") + ("" if exact else _PATH)
        where = url._replace(path=path or "/", netloc=url.netloc.rpartition("@")[2]).geturl()
    return Target(
        protocol,
        where,
        shown,
        _headers(given("HEADERS")),
        url.scheme == "https",
        _file(given("CERTIFICATE")),
        _pair(_file(given("CLIENT_CERTIFICATE")), _file(given("CLIENT_KEY"))),
    )


def resource(service: str, version: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What is said of the process that spans come from; OpenTelemetry's own variables come first."""
    told = {"service.name": service, "service.version": version}
    for pair in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, is_pair, value = pair.partition("=")
        if is_pair and name.strip():
            told[name.strip()] = unquote(value.strip())
    if own := environment.get("OTEL_SERVICE_NAME"):
        told["service.name"] = own
    return told


def ratio(given: float | None, environment: Mapping[str, str] = os.environ) -> float:
    """Which part of the traces that begin here is kept: as it was given, or by ``OTEL_TRACES_SAMPLER``, or
    all.

    Raises:
        TracingError: The sampler is none that is known.
    """
    if given is not None:
        return given
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    if sampler in ("", "always_on"):
        return 1.0
    if sampler == "always_off":
        return 0.0
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        part = float(text)
    except ValueError:
        part = math.nan
    if sampler != "traceidratio" or not 0 <= part <= 1:
        raise TracingError(f"OTEL_TRACES_SAMPLER is {sampler!r} with {text!r}: no sampler that is known")
    return part


def _split(text: str) -> SplitResult:
    url = urlsplit(text if "://" in text else f"http://{text}")
    try:
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise TracingError(f"{text!r} is no address of a collector: write http://host:4318")
    return url


def _port(url: SplitResult, protocol: str) -> int:
    if url.port is not None:
        return url.port
    return GRPC_PORT if protocol == GRPC else 443 if url.scheme == "https" else 80


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, is_pair, value = pair.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not is_pair or not name or not value.isprintable():
            raise TracingError(f"{_PREFIX}HEADERS is no list of name=value,name=value")
        found.append((name, value))
    return tuple(found)


def _file(name: str) -> Path | None:
    if not name:
        return None
    if not (path := Path(name)).is_file():
        raise TracingError(f"there is no file {name} that traces could be sent with")
    return path


def _pair(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if certificate is None or key is None:
        return None
    return certificate, key
