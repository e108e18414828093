"""What README and the documents show is run, against the demo models."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.snippets import Snippet, lines, snippets
from tests.mesh.processes import BIN, INFERLOOM, Mesh, run

pytestmark = pytest.mark.slow

QUICK = ("curl", "grpcurl", "inferloom", "echo", "cat")
LOOKING = ("ps", "models", "chat", "embed", "doctor", "keys", "pull")
"""Commands that end by themselves and leave the mesh as it was."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """`inferloom up`, as README has it."""
    run(*INFERLOOM, "pull", "smollm2-135m-instruct", "all-minilm-l6-v2")
    made = Mesh(tmp_path_factory.mktemp("documented"))
    yield made
    made.close()


def runs(snippet: Snippet) -> bool:
    """Whether a block runs as it is against a mesh of this machine."""
    if snippet.illustrative or "10.0.0." in snippet.text:
        return False
    if snippet.language == "python":
        return "127.0.0.1" in snippet.text and "langchain" not in snippet.text
    if snippet.language != "sh" or "-f" in snippet.text.split() or "--keys" in snippet.text:
        return False
    every = [line.words for line in lines(snippet)]
    return all(
        words[0] in QUICK
        and (words[0] != "inferloom" or words[1] in LOOKING)
        and (words[:2] != ("inferloom", "chat") or "-m" in words or len(every) > 1)
        for words in every
    )


RUN = [each for each in snippets() if runs(each)]


def test_there_are_some() -> None:
    """Of both kinds."""
    assert {each.language for each in RUN} == {"sh", "python"}
    assert len(RUN) > 8


@pytest.mark.parametrize("snippet", RUN, ids=str)
def test_a_block_runs_as_it_is_shown(snippet: Snippet, mesh: Mesh, tmp_path: Path) -> None:
    """Line by line where it is a shell's, with this mesh's ports in place of the usual ones."""
    (tmp_path / "requests.jsonl").write_text(
        '{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": '
        '"smollm2-135m-instruct", "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}}\n'
    )
    (tmp_path / "notes.txt").write_text("A cat sat.")
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "INFERLOOM_GATEWAY": mesh.grpc,
        "INFERLOOM_REGISTRY": mesh.registry,
        "INFERLOOM_GATEWAY_LISTEN": str(mesh.made["rest"]),
    }

    def here(text: str) -> str:
        for usual, actual in (
            ("127.0.0.1:8000", mesh.made["rest"]),
            ("127.0.0.1:9000", mesh.grpc),
            ("127.0.0.1:7000", mesh.registry),
            ("127.0.0.1:7100", mesh.worker),
        ):
            text = text.replace(usual, str(actual))
        return text

    def ended(command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"

    if snippet.language == "python":
        ended([sys.executable, "-c", here(_whole(snippet))])
        return
    for text in dict.fromkeys(line.text for line in lines(snippet)):
        if text.strip().startswith("inferloom chat") and "-m" not in text:
            continue  # a conversation with whoever sits there
        if text.endswith("RegistryService/Watch"):
            text = f"timeout 2 {text} || [ $? = 124 ]"  # it goes on for ever
        ended(
            [
                "bash",
                "-c",
                here(text.replace("curl ", "curl -fsS --retry 3 ") if text.startswith("curl ") else text),
            ]
        )


def _whole(snippet: Snippet) -> str:
    """With the block before it in the file that made its client."""
    if "client = " in snippet.text or "client" not in snippet.text:
        return snippet.text
    earlier = [
        each.text
        for each in snippets()
        if each.file == snippet.file and each.line < snippet.line and "client = " in each.text
    ]
    return earlier[-1] + snippet.text if earlier else snippet.text
