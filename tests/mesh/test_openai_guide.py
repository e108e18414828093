"""Every example of FastChat's OpenAI API guide, with the URL and the model name changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import OpenAI

from tests.mesh.conftest import CHAT, EMBEDDER
from tests.mesh.processes import Mesh, run

HELLO: list[Any] = [{"role": "user", "content": "Hello! What is your name?"}]


def curl(url: str, body: dict[str, object]) -> str:
    """Post JSON; a status of 400 or above fails."""
    return run("curl", "-sSfN", url, "-H", "Content-Type: application/json", "-d", json.dumps(body)).stdout


def test_models_list(client: OpenAI) -> None:
    """Both models, each with the fields that clients read."""
    models = {model.id: model for model in client.models.list()}
    assert {CHAT, EMBEDDER} == set(models)
    assert models[CHAT].object == "model"
    assert client.models.retrieve(CHAT).id == CHAT


def test_completions_create(client: OpenAI) -> None:
    """The completion continues the prompt."""
    answer = client.completions.create(
        model=CHAT, prompt="The capital of France is", max_tokens=16, temperature=0
    )
    assert "Paris" in answer.choices[0].text
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 16


def test_completions_create_streamed(client: OpenAI) -> None:
    """The pieces together are the whole completion."""
    asked: dict[str, Any] = {
        "model": CHAT,
        "prompt": "The capital of France is",
        "max_tokens": 16,
        "temperature": 0,
    }
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)]
    assert len(pieces) > 2
    assert client.completions.create(**asked).choices[0].text == "".join(pieces)


def test_chat_completions_create(client: OpenAI) -> None:
    """An assistant's message that ended by itself."""
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, temperature=0)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


def test_chat_completions_create_streamed(client: OpenAI) -> None:
    """The pieces together are the whole answer, and the last one says why it ended."""
    asked: dict[str, Any] = {"model": CHAT, "messages": HELLO, "temperature": 0}
    chunks = list(client.chat.completions.create(**asked, stream=True))
    whole = client.chat.completions.create(**asked).choices[0].message.content
    assert whole == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_embeddings_create(client: OpenAI) -> None:
    """A vector of the model's length, and the tokens that were read."""
    answer = client.embeddings.create(model=EMBEDDER, input="Hello world!")
    assert len(answer.data[0].embedding) == 384
    assert answer.usage.prompt_tokens > 0


def test_curl_models(demo: Mesh) -> None:
    """The same list."""
    models = json.loads(run("curl", "-sSf", f"{demo.base_url}/models").stdout)
    assert {CHAT, EMBEDDER} == {model["id"] for model in models["data"]}


@pytest.mark.parametrize(
    ("path", "body", "read"),
    [
        ("chat/completions", {"messages": HELLO}, lambda choice: choice["message"]["content"]),
        ("completions", {"prompt": "Once upon a time", "max_tokens": 41}, lambda choice: choice["text"]),
    ],
)
def test_curl_completions(demo: Mesh, path: str, body: dict[str, object], read: Callable[[Any], str]) -> None:
    """One object with one choice that has text."""
    answer = json.loads(curl(f"{demo.base_url}/{path}", {"model": CHAT, "temperature": 0.5, **body}))
    assert read(answer["choices"][0])


def test_curl_embeddings(demo: Mesh) -> None:
    """One vector."""
    answer = json.loads(curl(f"{demo.base_url}/embeddings", {"model": EMBEDDER, "input": "Hello world!"}))
    assert len(answer["data"][0]["embedding"]) == 384


def test_curl_streams(demo: Mesh) -> None:
    """Server-sent events, each a JSON object, ended by [DONE]."""
    body = {"model": CHAT, "messages": HELLO, "max_tokens": 16, "stream": True}
    lines = [line for line in curl(f"{demo.base_url}/chat/completions", body).splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    data = [line for line in lines[:-1] if not line.startswith((":", "id: "))]
    assert len(data) > 3
    assert all(json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk" for line in data)


def test_langchain_chats(demo: Mesh) -> None:
    """ChatOpenAI, whole and streamed."""
    model = ChatOpenAI(
        model=CHAT, base_url=demo.base_url, api_key="none", temperature=0, max_tokens=32, max_retries=0
    )
    assert "Paris" in model.invoke("What is the capital of France?").content
    pieces = [piece.content for piece in model.stream("What is the capital of France?")]
    assert "Paris" in "".join(str(piece) for piece in pieces)
    assert len(pieces) > 2


def test_langchain_embeds(demo: Mesh) -> None:
    """OpenAIEmbeddings, for documents and for a query; texts are sent as texts."""
    reach: dict[str, Any] = {"base_url": demo.base_url, "api_key": "none"}
    embeddings = OpenAIEmbeddings(model=EMBEDDER, check_embedding_ctx_length=False, **reach)
    first, second = embeddings.embed_documents(["a cat", "a kitten"])
    assert len(first) == len(second) == 384
    assert embeddings.embed_query("a cat") == pytest.approx(first, abs=1e-5)
