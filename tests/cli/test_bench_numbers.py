"""What `inferloom bench` makes of answers: numbers, a table and a picture."""

import io
from array import array
from xml.etree import ElementTree

import orjson
import pytest
from rich.console import Console

from inferloom_cli.benchmark.answer import Answer, BodyReader, StreamReader, error_text
from inferloom_cli.benchmark.listing import choose_model
from inferloom_cli.benchmark.load import Api, Load
from inferloom_cli.benchmark.plot import ceiling, plot
from inferloom_cli.benchmark.summary import Summary, percentile
from inferloom_cli.benchmark.table import table


def frames(*events: object) -> bytes:
    """An event stream that ends as it should."""
    return b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events) + b"data: [DONE]\n\n"


def piece(text: str) -> dict[str, object]:
    """One event with text."""
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def read(stream: bytes) -> Answer:
    """The answer that a stream gives when it comes at once."""
    answer = Answer(began=1.0)
    reader = StreamReader(answer)
    reader.feed(stream, 1.5)
    reader.end()
    return answer


GOOD = (
    Answer(10.0, 10.9, array("d", [10.1, 10.3, 10.9]), prompt_tokens=7, output_tokens=3),
    Answer(10.0, 11.5, array("d", [10.5, 11.5]), prompt_tokens=7, cached_tokens=4, output_tokens=2),
)
BROKEN = Answer(10.0, 12.0, failure="status 503: full")


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)]
)
def test_a_percentile_is_the_smallest_value_that_covers_its_share(share: float, expected: float) -> None:
    """Nearest rank: it is always one of the values."""
    assert expected == percentile([1.0, 2.0, 3.0, 4.0], share)


def test_a_percentile_of_nothing_is_none() -> None:
    """There is no number to make up."""
    assert percentile([], 0.5) is None


def test_a_summary_counts_what_did_not_fail() -> None:
    """Rates and times are over the good answers, and the first error is kept."""
    summary = Summary.of(2, [*GOOD, BROKEN], seconds=2.0)
    assert (summary.requests, summary.failed, summary.first_error) == (3, 1, "status 503: full")
    assert (summary.prompt_tokens, summary.cached_tokens, summary.output_tokens) == (14, 4, 5)
    assert (summary.tokens_per_s, summary.requests_per_s) == (2.5, 1.0)
    assert summary.ttft_p50_ms == pytest.approx(100)
    assert summary.ttft_p99_ms == pytest.approx(500)
    assert summary.itl_p50_ms == pytest.approx(600)
    assert summary.itl_p99_ms == pytest.approx(1000)
    assert summary.latency_p99_ms == pytest.approx(1500)


def test_text_is_timed_and_the_servers_count_wins() -> None:
    """A role alone is no text; the usage says how many tokens the pieces were."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"accepted_prediction_tokens": 3},
    }
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": None}
    answer = read(frames(role, piece("a"), piece("b"), {"choices": [], "usage": usage}))
    assert list(answer.arrivals) == [1.5, 1.5]
    assert (answer.prompt_tokens, answer.output_tokens, answer.cached_tokens) == (9, 5, 8)
    assert answer.accepted_draft_tokens == 3
    assert answer.failure is None


def test_pieces_are_counted_where_the_server_does_not() -> None:
    """Also those of text completions, and of reasoning."""
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
    assert read(frames(piece("a"), thought, {"choices": [{"index": 0, "text": "b"}]})).output_tokens == 3


def test_an_error_in_the_stream_is_the_answers_failure() -> None:
    """The first one, in its own words; a null is none."""
    failed = read(frames(piece("a") | {"error": None}, {"error": {"message": "worker lost"}}))
    assert failed.failure == "worker lost"
    assert read(frames(piece("a") | {"error": None})).failure is None


def test_a_stream_without_its_end_is_a_failure() -> None:
    """The text that came might not be all."""
    assert read(b'data: {"choices": []}\n\n').failure == "the stream ended without [DONE]"


def test_embeddings_are_counted() -> None:
    """The body may come in pieces."""
    answer = Answer(0.0)
    reader = BodyReader(answer)
    for part in (b'{"data": [{}, {}], "us', b'age": {"prompt_tokens": 6}}'):
        reader.feed(part, 1.0)
    reader.end()
    assert (answer.inputs, answer.prompt_tokens, answer.failure) == (2, 6, None)


@pytest.mark.parametrize(
    ("body", "text"),
    [(b'{"error": {"message": "no"}}', "no"), (b'{"error": "no"}', '{"error": "no"}'), (b"<html>", "<html>")],
)
def test_an_error_is_its_message_or_its_beginning(body: bytes, text: str) -> None:
    """Whatever shape the server gives it."""
    assert text == error_text(body)


@pytest.mark.parametrize(("api", "model"), [("chat", "talker"), ("embeddings", "embedder")])
def test_the_model_that_is_made_for_it_is_chosen(api: Api, model: str) -> None:
    """As far as the server says what its models can do; where it does not, the first will do."""
    listed = [
        {"id": "talker", "capabilities": ["chat", "embedding"]},
        {"id": "embedder", "capabilities": ["embedding"]},
    ]
    assert model == choose_model(orjson.dumps({"data": listed}), api)
    assert choose_model(b'{"data": [{"id": "any"}]}', api) == "any"
    assert choose_model(b'{"data": []}', api) is None
    with pytest.raises(ValueError, match="another form"):
        choose_model(b'{"models": 3}', api)


def test_requests_of_a_load_share_a_prefix_and_nothing_else() -> None:
    """The system prompt is the same, and every prompt begins with its own number."""
    load = Load("m", shared_prefix=100, prompt_tokens=50, first=10)
    first, second = load.body(0)["messages"], load.body(1)["messages"]
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[0] == second[0]
    assert [m["content"].split()[0] for m in (first[1], second[1])] == ["10", "11"]
    assert 90 <= len(first[0]["content"].split()) <= 110
    assert 40 <= len(first[1]["content"].split()) <= 60
    assert load.body(0) == load.body(0)


def test_the_table_fits_80_columns() -> None:
    """Also with large numbers and failures."""
    answers = [*GOOD, BROKEN] * 200
    out = io.StringIO()
    Console(file=out, width=80).print(table([Summary.of(64, answers, 0.01)], "chat"))
    *_, row = out.getvalue().splitlines()
    assert row.split()[:4] == ["64", "600", "200", "100,000"]
    assert row.split()[5:] == ["100.0", "500", "600", "1,000", "0.0"]


@pytest.mark.parametrize(("api", "panels"), [("chat", 3), ("embeddings", 2)])
def test_the_plot_is_xml_with_a_panel_for_each_measure(api: Api, panels: int) -> None:
    """Names are escaped, and a level without a measure is left out."""
    rows = [Summary.of(1, GOOD, 1.0), Summary.of(8, [BROKEN], 1.0)]
    drawn = ElementTree.fromstring(plot(rows, api, "a <b> & c"))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}g")) == panels
    assert "a <b> & c" in [text.text for text in drawn.iter(f"{space}text")]
    lines = [line.get("points", "").split() for line in drawn.iter(f"{space}polyline")]
    assert [len(line) for line in lines] == [2, *[1] * (2 * (panels - 1))]


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.03, 0.04), (1, 1), (7, 8), (9, 10), (10, 10), (101, 200), (999, 1000)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    """Not below the largest value."""
    assert ceiling(value) == pytest.approx(top)
