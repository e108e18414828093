"""Whether a command that a document shows could be typed."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import typer
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from inferloom.v1 import gateway_pb2, inference_pb2, registry_pb2, worker_pb2
from inferloom_cli.main import app
from inferloom_mesh.suggestion import nearest
from tests.docs.snippets import ROOT
from tests.wire.documented import place

OURS = {
    service.full_name: service
    for module in (inference_pb2, registry_pb2, worker_pb2, gateway_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
FOREIGN = frozenset(
    {
        *(
            "apt",
            "apt-get",
            "base64",
            "buf",
            "cat",
            "cd",
            "certbot",
            "chgrp",
            "chmod",
            "cp",
            "docker",
            "echo",
            "etcd",
        ),
        *(
            "etcdctl",
            "exit",
            "export",
            "git",
            "go",
            "groupadd",
            "head",
            "helm",
            "hostname",
            "jq",
            "kill",
            "kubectl",
            "kustomize",
        ),
        *("mkdir", "nginx", "node", "npm", "npx", "openssl", "pip", "pipx", "podman", "pre-commit"),
        *(
            "prometheus",
            "promtool",
            "protoc",
            "python",
            "python3",
            "ray",
            "sudo",
            "systemctl",
            "systemd-run",
            "systemd-analyze",
        ),
        *("sleep"),
    }
)
"""Programs that are not ours."""
_ELSEWHERE = ("/metrics", "/console", "/docs", "/openapi.json")


class UntypableError(AssertionError):
    """It cannot be typed like that."""


def check(words: tuple[str, ...]) -> str:
    """What kind of command it is. Raises UntypableError if it would not be understood."""
    program, *args = words
    if program.endswith(".sh"):
        _script(program)
        return "script"
    program = program.removeprefix(".venv/bin/").rpartition("/")[2]
    checks: dict[str, Callable[[list[str]], None]] = {
        "inferloom": _inferloom,
        "make": _make,
        "curl": _curl,
        "grpcurl": _grpcurl,
    }
    if program in checks:
        checks[program](args)
        return program
    if program in ("python", "python3"):
        _python(args)
    if program in ("source", ".") or program in FOREIGN:
        return "foreign"
    raise UntypableError(f"{program} is neither ours nor known")


def _inferloom(args: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    args = ["x" if arg.startswith("$(") else arg for arg in args]
    while args and (deeper := getattr(command, "commands", {}).get(args[0])) is not None:
        command, args = deeper, args[1:]
    try:
        command.make_context("inferloom", list(args))
    except typer.Exit:
        return  # --help, --version
    except Exception as wrong:  # the command line's own, which typer does not export
        raise UntypableError(str(wrong)) from wrong


def _make(args: list[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in (arg for arg in args if "=" not in arg):
        if target not in targets:
            raise UntypableError(f"make has no target {target}; {nearest(target, targets)}?")


def _script(path: str) -> None:
    if not any(ROOT.rglob(path.removeprefix("./"))):
        raise UntypableError(f"there is no {path}")


def _python(args: list[str]) -> None:
    if args and args[0].endswith(".py") and not (ROOT / args[0]).is_file():
        raise UntypableError(f"there is no {args[0]}")


def _curl(args: list[str]) -> None:
    bodies = [args[n + 1] for n, arg in enumerate(args) if arg in ("-d", "--data", "--json")]
    urls = [arg for arg in args if arg.startswith(("http://", "https://"))]
    if not urls:
        raise UntypableError("no URL")
    for body in bodies:
        if not body.startswith("@"):
            json.loads(body)
    for url in urls:
        path = urlsplit(url).path
        method = "post" if bodies or "-F" in args else "get"
        if "-X" in args:
            method = args[args.index("-X") + 1].lower()
        if path.startswith("/inferloom.v1."):
            _contract(path[1:], bodies[0] if bodies else "{}")
        elif not path.startswith(_ELSEWHERE) and place(path, method) is None:
            raise UntypableError(f"nothing is served at {method} {path}")


def _grpcurl(args: list[str]) -> None:
    names = [arg for arg in args if arg.startswith(("inferloom.v1.", "grpc.health"))]
    bodies = [args[n + 1] for n, arg in enumerate(args) if arg == "-d"]
    for name in names:
        if "/" in name:
            _contract(name, bodies[0] if bodies else "{}")
    if not names and "list" not in args:
        raise UntypableError("no method")


def _contract(name: str, body: str) -> None:
    service, _, method = name.partition("/")
    if service.startswith("grpc.health"):
        return
    if service not in OURS or method not in OURS[service].methods_by_name:
        raise UntypableError(f"the contract has no {name}")
    if body != "@":
        request = GetMessageClass(OURS[service].methods_by_name[method].input_type)
        json_format.Parse(body, request())
