"""`inferloom bench` against servers that listen."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inferloom_cli.bench import first_model, levels_of, measure
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import Load
from inferloom_cli.refusal import RefusedError
from tests.mesh.processes import INFERLOOM, Mesh, inferloom, run
from tests.patience import PATIENCE_S, undisturbed

EVENTS = b'data: {"choices": [{"text": "a", "index": 0}]}\n\ndata: [DONE]\n\n'
ANSWER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh with an echo model."""
    mesh = Mesh(tmp_path_factory.mktemp("echo"), "--model", "echo=echo")
    yield mesh
    mesh.close()


class Server:
    """Answers each request with the next of some bytes, and closes the connection after None."""

    def __init__(self, *answers: bytes | None) -> None:
        self.connections = 0
        self._answers = iter(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        self.connections += 1
        while head := await self._head(reader):
            length = next(
                int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"content-length")
            )
            await reader.readexactly(length)
            answer = next(self._answers)
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[Endpoint]:
    """Where a server listens."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        yield Endpoint("http", "127.0.0.1", listener.sockets[0].getsockname()[1], "/v1")


async def test_a_connection_carries_one_request_after_another() -> None:
    """As the OpenAI SDK's do."""
    server = Server(ANSWER, ANSWER, ANSWER)
    async with listening(server) as endpoint:
        summary = await measure(endpoint, Load("m", requests=3))
    assert (summary.requests, summary.failed, summary.output_tokens) == (3, 0, 3)
    assert server.connections == 1


async def test_each_request_can_have_a_connection_of_its_own() -> None:
    """Without keep-alive."""
    server = Server(ANSWER, ANSWER, ANSWER)
    async with listening(server) as endpoint:
        summary = await measure(endpoint, Load("m", requests=3, keep_alive=False))
    assert (summary.failed, server.connections) == (0, 3)


async def test_a_connection_that_the_server_gave_up_is_opened_again() -> None:
    """A server may close a connection between requests, also while the next one is on its way."""
    server = Server(ANSWER, None, ANSWER)
    async with listening(server) as endpoint:
        summary = await measure(endpoint, Load("m", requests=2))
    assert (summary.failed, summary.output_tokens) == (0, 2)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "in the middle of a response"),
        (ANSWER[:80], "no end within"),
        (b"what?\r\n\r\n", "not an HTTP response"),
        (b"HTTP/1.1 503 Full\r\ncontent-length: 4\r\n\r\nfull", "status 503: full"),
        (ANSWER.replace(b'{"choices"', b'!"choices"'), "unexpected"),
    ],
    ids=["hangs up", "falls silent", "no HTTP", "refuses", "no JSON"],
)
@undisturbed(0.15)
async def test_what_goes_wrong_is_a_failure_of_that_request_alone(answer: bytes | None, words: str) -> None:
    """The next one is sent, and the first error is kept."""
    server = Server(answer, ANSWER)
    async with listening(server) as endpoint:
        summary = await measure(endpoint, Load("m", requests=2, timeout=0.5))
    assert (summary.requests, summary.failed, summary.output_tokens) == (2, 1, 1)
    assert summary.first_error is not None
    assert words in summary.first_error


@pytest.mark.parametrize(
    ("status", "path", "words"),
    [
        (401, "/v1", "a key with --api-key"),
        (404, "/v1", "a model with --model"),
        (404, "", "the base URL of its API, which often ends in /v1"),
    ],
)
async def test_a_refusal_says_what_to_name(status: int, path: str, words: str) -> None:
    """A key where one is asked for, the whole URL where its path was left out, otherwise a model."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 2\r\n\r\n{}" % status)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
        endpoint = Endpoint("http", "127.0.0.1", listener.sockets[0].getsockname()[1], path)
        with pytest.raises(RefusedError, match=f"status {status}.* – name {words}"):
            await first_model(endpoint, Load("", requests=1))


async def test_many_clients_send_no_more_than_was_asked() -> None:
    """Each request is sent once."""
    server = Server(*[ANSWER] * 10)
    async with listening(server) as endpoint:
        summary = await measure(endpoint, Load("m", clients=4, requests=10))
    assert (summary.requests, summary.failed) == (10, 0)
    assert server.connections == 4


@pytest.mark.parametrize("text", ["", "1,", "0", "eight", "1,-2", "5000"])
def test_levels_that_are_no_numbers_are_refused(text: str) -> None:
    """In one line that shows what is meant."""
    with pytest.raises(RefusedError, match="1,8,32"):
        levels_of(text)


def test_a_mesh_is_measured_end_to_end(echo: Mesh, tmp_path: Path) -> None:
    """A table for people, numbers for scripts, and a picture, from one run with several levels."""
    numbers, picture = tmp_path / "numbers.json", tmp_path / "picture.svg"
    flags = ("--tokens", "16", "--requests", "6", "--shared-prefix", "50", "--json", str(numbers))
    shown = inferloom("bench", echo.base_url, "-c", "1,3", *flags, "--plot", str(picture))
    rows = [line.split() for line in shown.splitlines()]
    assert [row[:3] for row in rows[-2:]] == [["1", "6", "0"], ["3", "6", "0"]]
    one, three = json.loads(numbers.read_text())["levels"]
    assert (one["clients"], one["requests"], one["failed"], one["output_tokens"]) == (1, 6, 0, 96)
    assert (three["clients"], three["requests"], three["failed"]) == (3, 6, 0)
    assert three["ttft_p50_ms"] > 0
    assert picture.read_text().startswith("<svg")


def test_text_completions_and_printed_json(echo: Mesh) -> None:
    """`--json -` prints nothing else."""
    printed = inferloom(
        "bench", echo.base_url, "--api", "completions", "-c", "2", "--tokens", "8", "--json", "-"
    )
    made = json.loads(printed)
    assert (made["load"]["model"], made["load"]["api"]) == ("echo", "completions")
    assert made["levels"][0]["output_tokens"] == 8 * 4


@pytest.mark.parametrize(
    ("flags", "words", "status"),
    [
        (("--model", "none"), "3 requests failed, the first with: status 404", 1),
        (("--api", "embeddings"), "no model for embeddings", 1),
        (("-c", "many"), "--concurrency", 2),
        (("--json", "/no/such/folder/file"), "no folder", 2),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    echo: Mesh, flags: tuple[str, ...], words: str, status: int
) -> None:
    """The exit status tells wrong use from failure."""
    done = run(*INFERLOOM, "bench", echo.base_url, "-c", "1", *flags, check=False)
    assert status == done.returncode
    assert words in done.stderr.splitlines()[-1]


def test_when_nothing_listens_the_line_says_so() -> None:
    """Port 1 is nobody's."""
    done = run(*INFERLOOM, "bench", "http://127.0.0.1:1/v1", check=False)
    assert done.stderr == "inferloom: no server at http://127.0.0.1:1/v1 – start one with `inferloom up`\n"
    assert done.returncode == 1


def test_numbers_that_cannot_be_written_are_a_line(echo: Mesh, tmp_path: Path) -> None:
    """After all of the work: they were shown."""
    args = (echo.base_url, "-c", "1", "--tokens", "2", "--json", str(tmp_path))
    done = run(*INFERLOOM, "bench", *args, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"inferloom: cannot write the numbers to {tmp_path}: Is a directory")


def test_what_was_measured_is_shown_when_the_rest_is_interrupted(echo: Mesh) -> None:
    """Minutes of work are not lost to Ctrl-C."""
    levels = ",".join(["1"] * 500)
    command = [*INFERLOOM, "bench", echo.base_url, "-c", levels, "--requests", "1", "--tokens", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as measuring:
        assert measuring.stderr is not None
        for _ in range(4):
            assert "1 client" in measuring.stderr.readline()
        measuring.send_signal(signal.SIGINT)
        shown, _ = measuring.communicate(timeout=PATIENCE_S)
    assert measuring.returncode == 130
    assert len(shown.splitlines()) >= 2 + 3
