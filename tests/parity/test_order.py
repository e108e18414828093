"""What a model thinks, says and calls in some order is told in that order, and whole, at every door: however
its tokens came together, and whatever one token made final."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom.client.answer import Answer
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.chat import ChatChunks
from inferloom_gateway.http.translate.chat_message import chat_choice
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_gateway.http.translate.reports import Reports
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_gateway.http.translate.responses.document import begun
from inferloom_worker.engine.events import EndReason, TokenLogprobs, TokensEvent
from inferloom_worker.output.calls.harmony import HarmonyReader
from inferloom_worker.output.calls.json_forms import HermesReader
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.completion import Completion, Item, PlainDelta
from inferloom_worker.output.parsing import Reading
from inferloom_worker.output.reasoning import BY_NAME, ReasoningReader
from inferloom_worker.rpc.attach.frame import Frame
from inferloom_worker.rpc.attach.outbox import Outbox
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from tests.gateway.test_link_frames import Link
from tests.worker.test_completion import Recorded, stopping

BYTES = bytes_tokenizer()
OFFER = Offer({"f": False}, lambda index: f"c{index}")
READING = {
    "harmony": Reading(lambda _: (HarmonyReader(OFFER),)),
    "hermes": Reading(lambda _: (ReasoningReader(BY_NAME["think"], opened=False), HermesReader(OFFER))),
}
ASKED = ChatCompletionRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
RESPONSE = ResponseRequest.model_validate({"model": "m", "input": "Hi"})

Step = tuple[str, str]
"""What a model does: ``reasoning``, ``text`` or ``call``, and the words or arguments of that."""

WORDS = st.text("abé漢{ ", min_size=1, max_size=5).map(lambda text: text.strip() or "z")
STEPS = st.lists(
    st.tuples(st.sampled_from(["reasoning", "text"]), WORDS)
    | st.tuples(st.just("call"), WORDS.map(lambda text: json.dumps({"a": text}, ensure_ascii=False))),
    min_size=1,
    max_size=6,
)
CALL, NEXT = '<tool_call>\n{"name": "f", "arguments": ', "<|start|>assistant"
ENDS = {"reasoning": "<|end|>", "text": "<|end|>", "call": "<|call|>"}
HEADERS = {
    "reasoning": "<|channel|>analysis<|message|>",
    "text": "<|channel|>final<|message|>",
    "call": "<|channel|>commentary to=functions.f <|constrain|>json<|message|>",
}


def written(form: str, steps: Sequence[Step]) -> tuple[str, list[Step]]:
    """Steps as such a model writes them, and those that it can: some reason only before anything else."""
    if form == "harmony":
        parts = [f"{HEADERS[kind]}{words}{ENDS[kind]}" for kind, words in steps]
        return NEXT.join(parts), list(steps)
    steps = [step for at, step in enumerate(steps) if at == 0 or step[0] != "reasoning"]
    marks = {"reasoning": ("<think>", "</think>"), "text": ("", ""), "call": (CALL, "}\n</tool_call>")}
    return "".join(f"{marks[kind][0]}{words}{marks[kind][1]}" for kind, words in steps), steps


def joined(steps: Iterator[Step] | Sequence[Step]) -> list[Step]:
    """What is said behind one another as one; each call by itself."""
    found: list[Step] = []
    for kind, words in steps:
        if found and found[-1][0] == kind != "call":
            found[-1] = (kind, found[-1][1] + words)
        else:
            found.append((kind, words))
    return found


def generated(
    form: str, text: str, cuts: Sequence[int], *, stop: str = "", logprobs: bool = False, apart: bool = False
) -> list[list[Item]]:
    """The items of an answer of this text, one byte a token, cut into batches; its end comes ``apart``, or
    with its last token."""
    strings = (stop,) if stop else ()
    completion = Completion(Recorded(), BYTES, stopping(strings=strings), 1, 1, READING[form])
    ids = text.encode()
    started = pb.Started(model="m", sampling=pb.SamplingOptions(temperature=1))
    items: list[list[Item]] = [[pb.GenerateResponse(started=started)]]
    batch: list[TokensEvent] = []
    for at, token in enumerate(ids):
        last = at == len(ids) - 1
        told = (TokenLogprobs(-float(at), ()),) if logprobs else None
        end = EndReason.LENGTH if last and not apart else None
        batch.append(TokensEvent(0, at, (token,), told, end))
        if last and apart:
            batch.append(TokensEvent(0, len(ids), (), None, EndReason.LENGTH))
        if last or at in cuts:
            items.append(list(completion.read(batch)))
            batch = []
    return [*items, [completion.completed()]]


def carried(batches: Sequence[Sequence[Item]]) -> list[pb.GenerateResponse | Tokens]:
    """What a gateway's call hears of them, each batch in a frame of the link."""
    link = Link()
    call, seen = link.call(begun=False)
    outbox = Outbox(call.number, 2**20, 2**30)
    for batch in batches:
        for item in batch:
            if isinstance(item, PlainDelta):
                outbox.put((item,))
            else:
                outbox.put((link_pb2.CallEvent(call=call.number, generate=item),))
        frame = Frame()
        assert not outbox.fill(frame, lambda _: None)
        message = frame.message()
        assert len(message.deltas.call) <= 1
        link.demultiplexer.take(link_pb2.AttachResponse.FromString(message.SerializeToString()))
    return [Tokens(*event) if isinstance(event, tuple) else event for event in seen.events]


def in_contract(events: Sequence[pb.GenerateResponse]) -> Iterator[Step]:
    """What Deltas tell, each of one kind; nothing comes between the parts of a call."""
    call: list[str] = []
    for event in events:
        delta = event.delta
        assert bool(delta.text) + bool(delta.reasoning) + bool(delta.tool_calls) <= 1
        for part in delta.tool_calls:
            if part.id and call:
                yield "call", "".join(call)
            call = [*([] if part.id else call), part.arguments]
            assert part.name == ("f" if part.id else "")
            assert part.id or len(call) > 1
        if call and (delta.text or delta.reasoning):
            yield "call", "".join(call)
            call = []
        if delta.text or delta.reasoning:
            yield ("text", delta.text) if delta.text else ("reasoning", delta.reasoning)
    if call:
        yield "call", "".join(call)


def in_chunks(events: Sequence[pb.GenerateResponse | Tokens]) -> Iterator[Step]:
    """What the chunks of a streamed chat tell."""
    encoder = ChatChunks("id", "m", 1, 1, Reports())
    data = b""
    for event in events:
        if isinstance(event, Tokens):
            data += encoder.tokens(event)
        elif (kind := event.WhichOneof("event")) in ("started", "delta", "finished"):
            data += getattr(encoder, str(kind))(getattr(event, str(kind)))
    arguments: dict[int, list[str]] = {}
    order: list[tuple[str, Any]] = []
    for line in data.split(b"\n\n")[:-1]:
        delta = json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"]
        if reasoning := delta.get("reasoning"):
            order.append(("reasoning", reasoning))
        if content := delta.get("content"):
            order.append(("text", content))
        for call in delta.get("tool_calls", ()):
            if call["index"] not in arguments:
                arguments[call["index"]] = []
                order.append(("call", arguments[call["index"]]))
            arguments[call["index"]].append(call["function"]["arguments"])
    for each, words in order:
        yield each, "".join(words)


def in_items(events: Sequence[pb.GenerateResponse]) -> tuple[Assembly, list[dict[str, Any]]]:
    """What a response is made of, and what is told of that."""
    assembly = Assembly(begun(RESPONSE, "resp_" + "a" * 30, 1, store=False), clock=lambda: 2.0)
    return assembly, [told for event in events for told in assembly.add(event)]


def of_items(output: Sequence[dict[str, Any]]) -> Iterator[Step]:
    """What the items of a response say."""
    for item in output:
        if item["type"] == "function_call":
            assert (item["name"], bool(item["call_id"])) == ("f", True)
            yield "call", item["arguments"]
        else:
            kind = "text" if item["type"] == "message" else "reasoning"
            yield kind, "".join(part["text"] for part in item["content"])


def check(batches: Sequence[Sequence[Item]], expected: Sequence[Step]) -> list[pb.GenerateResponse]:
    """Hear it at every door; the events of the contract."""
    heard = carried(batches)
    events = [event.event() if isinstance(event, Tokens) else event for event in heard]
    assert joined(in_contract(events)) == expected
    assert joined(in_chunks(heard)) == joined(in_chunks(events)) == expected
    assembly, told = in_items(events)
    output = assembly.document["output"]
    # An answer that ends in reasoning may be incomplete, and has no message then.
    assert joined(of_items(output)) == expected
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert done == output
    for index, item in enumerate(output):
        deltas = [event["delta"] for event in told if event.get("output_index") == index and "delta" in event]
        assert ["".join(deltas)] == [words for _, words in of_items([item])]
    outcome, answer = Outcome(1), Answer()
    for event in events:
        outcome.add(event)
        answer.add(event)
    message: Any = chat_choice(0, outcome.choices[0], ASKED, old=False)["message"]
    of = {kind: [words for each, words in expected if each == kind] for kind in ENDS}
    assert (message["content"] or "", message.get("reasoning", "")) == (
        "".join(of["text"]),
        "".join(of["reasoning"]),
    )
    assert [call["function"]["arguments"] for call in message.get("tool_calls", ())] == of["call"]
    (choice,) = answer.choices
    assert (choice.text, choice.reasoning) == ("".join(of["text"]), "".join(of["reasoning"]))
    assert [call.arguments for call in choice.calls] == of["call"]
    return events


FORMS = pytest.mark.parametrize("form", READING)


@FORMS
@settings(max_examples=40)
@given(steps=STEPS, data=st.data())
def test_the_order_is_that_of_the_model(form: str, steps: list[Step], data: st.DataObject) -> None:
    """A stop string that does not come holds text back until one token makes much of it final."""
    text, steps = written(form, steps)
    cuts = data.draw(st.lists(st.integers(0, len(text.encode())), max_size=8))
    first = data.draw(st.integers(0, len(text) - 1))
    held = text[first : data.draw(st.integers(first, len(text)))]
    stop = f"{held}\0" if held else ""
    apart = data.draw(st.booleans())

    events = check(generated(form, text, cuts, stop=stop, apart=apart), joined(steps))
    assert [token for event in events for token in event.delta.token_ids] == list(text.encode())


@FORMS
@settings(max_examples=25)
@given(steps=STEPS, data=st.data())
def test_log_probabilities_go_with_what_their_tokens_say(
    form: str, steps: list[Step], data: st.DataObject
) -> None:
    """All of them come with their tokens, and those of a message's text with the message, however the tokens
    were cut."""
    text, steps = written(form, steps)
    cuts = data.draw(st.lists(st.integers(0, len(text.encode())), max_size=8))
    apart = generated(form, text, range(len(text.encode())), logprobs=True)
    once = [item for batch in apart for item in batch if isinstance(item, pb.GenerateResponse)]
    events = check(generated(form, text, cuts, logprobs=True), joined(steps))
    told = [(entry.token_id, entry.logprob) for event in events for entry in event.delta.logprobs]
    assert told == [(token, -at) for at, token in enumerate(text.encode())]

    output = in_items(events)[0].document["output"]
    assert output == in_items(once)[0].document["output"]
    messages = [item for item in output if item["type"] == "message"]
    runs = [
        [words for _, words in run] for kind, run in groupby(steps, lambda step: step[0]) if kind == "text"
    ]
    for item, run in zip(messages, runs, strict=True):
        (part,) = item["content"]
        spelled = bytes(byte for entry in part["logprobs"] for byte in entry["bytes"])
        assert all(words.encode() in spelled for words in run)


def test_a_call_whose_end_comes_with_text_stays_whole() -> None:
    """The rest of it and what follows are two Deltas, though a caller without credit gets both at once."""
    steps = [("call", '{"a": 1}'), ("text", "Done.")]
    text, _ = written("hermes", steps)
    batches = generated("hermes", text, [len(text) - 25])
    events = check(batches, steps)
    assert [bool(event.delta.tool_calls) for event in events if event.HasField("delta")] == [
        *(True, True, False)
    ]


def test_of_a_token_that_says_much_the_last_delta_has_it() -> None:
    """Who goes on before the token hears all of it again; the place is that of the token."""
    text, steps = written("harmony", [("call", "{}"), ("text", "a"), ("reasoning", "b")])
    batches = generated("harmony", text, [], stop=f"{text[:-7]}\0")
    deltas = [event.delta for event in check(batches, steps) if event.HasField("delta")]
    # Nothing is final before the character that the stop string has not.
    assert [(delta.token_index, len(delta.token_ids)) for delta in deltas[:4]] == [
        (0, len(text) - 7),
        *((len(text) - 7, 0),) * 2,
        (len(text) - 7, 7),
    ]
