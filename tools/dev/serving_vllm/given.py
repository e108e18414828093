"""What tools with vLLM are given on the command line: the model, the engine's arguments, room for logs."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from serving_vllm.plan import Vllm
from serving_vllm.tiny import tiny


def add_model(
    parser: argparse.ArgumentParser,
    *,
    needed: bool = True,
    options: str = "enforce_eager=true",
    threads: int = 0,
    computes: str = "vLLM computes",
) -> None:
    """Take a model and how vLLM is to compute it.

    Args:
        parser: Gets ``--model``, ``--tiny``, ``--threads``, ``--options`` and ``--folder``.
        needed: Whether there must be a model.
        options: What vLLM is told unless something else is.
        threads: How many, unless told. 0: as many as it takes.
        computes: Who has the threads, and does what.
    """
    parser.add_argument(
        "--model", type=Path, required=needed, help="folder of a chat model in safetensors, for vLLM"
    )
    parser.add_argument("--tiny", action="store_true", help="a random model with its tokenizer instead")
    parser.add_argument("--threads", type=int, default=threads, help=f"that {computes} with")
    parser.add_argument("--options", default=options, help="further arguments of vLLM")
    parser.add_argument("--folder", type=Path, help="keeps the logs here")


def add_python(parser: argparse.ArgumentParser) -> None:
    """Take the installation."""
    parser.add_argument("--python", type=Path, required=True, help="interpreter with vLLM")


def vllm_of(args: argparse.Namespace) -> Vllm:
    """The installation, as it is to run."""
    return Vllm(python=args.python, threads=args.threads)


def query_of(args: argparse.Namespace, **more: object) -> str:
    """The engine's arguments as a worker's spec has them; what the caller of the tool says comes last."""
    own = [f"{name}={value}" for name, value in more.items()]
    return "&".join([*own, args.options] if args.options else own)


@contextmanager
def room(args: argparse.Namespace) -> Iterator[Path]:
    """The folder for logs."""
    with TemporaryDirectory(prefix="il-") as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()


def model_of(args: argparse.Namespace, folder: Path) -> Path:
    """The model to compute: the one that is given, or a tiny one with its tokenizer, made in ``folder``."""
    model: Path = args.model.resolve()
    return tiny(model, folder / "tiny") if args.tiny else model
