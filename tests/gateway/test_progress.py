"""How far an answer has come, and what another worker would be asked for."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.progress import EmbeddingProgress
from inferloom_mesh.errors import invalid


def part(first: int, count: int) -> pb.EmbedResponse:
    """Vectors of some inputs."""
    return pb.EmbedResponse(part=pb.EmbedPart(first_input=first, embeddings=[pb.Embedding()] * count))


def begun(tokens: int) -> pb.EmbedResponse:
    """The beginning of an embedding."""
    return pb.EmbedResponse(started=pb.EmbedStarted(prompt_tokens=tokens))


def test_an_embedding_goes_on_with_what_is_missing() -> None:
    """Parts keep the numbers of the whole request, and so do errors and usage."""
    request = pb.EmbedRequest(model="m", inputs=[pb.EmbedInput(text=text) for text in "abcd"])
    progress = EmbeddingProgress(request)
    progress.take(begun(8))
    progress.take(part(0, 2))
    rest = progress.rest()
    assert rest is not None
    assert [item.text for item in rest.inputs] == ["c", "d"]
    assert progress.restated(invalid("inputs[1].text", "inputs[1].text is bad.")).param == "inputs[3].text"
    assert progress.take(begun(4)) is None
    moved = progress.take(part(0, 1))
    assert moved is not None
    assert moved.part.first_input == 2
    again = progress.rest()
    assert again is not None
    assert [item.text for item in again.inputs] == ["d"]
    progress.take(part(0, 1))
    last = progress.take(pb.EmbedResponse(completed=pb.EmbedCompleted(usage=pb.Usage(prompt_tokens=2))))
    assert last is not None
    assert last.completed.usage.prompt_tokens == 8
    assert progress.rest() is None


def test_an_embedding_whose_vectors_are_all_there_is_complete() -> None:
    """A worker that is lost before it said what was used has told it at the beginning."""
    progress = EmbeddingProgress(pb.EmbedRequest(inputs=[pb.EmbedInput(text="a")]))
    progress.take(begun(2))
    assert progress.end() is None
    progress.take(part(0, 1))
    end = progress.end()
    assert end is not None
    assert end.completed.usage.prompt_tokens == 2
