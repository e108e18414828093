"""Responses in background: made without their client, followed, taken up again, given up, and left behind."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.gateway_pb2 import REQUEST_STATE_FAILED
from inferloom_mesh.errors import overloaded
from tests.patience import PATIENCE_S, until_async
from tests.wire import sdk_types
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, hang, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.response_streams import MODEL, PATH, events_of, everything, says
from tests.wire.test_gateway_picture import record_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


class Steps:
    """A script that says a word each time it is told to."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.turn = asyncio.Semaphore(0)

    async def __call__(
        self, worker: FakeWorker, request: pb.GenerateRequest
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Say them."""
        yield started(request, worker.id)
        for word in self.words:
            await self.turn.acquire()
            yield delta(word)
        await self.turn.acquire()
        yield finished()
        yield completed()

    def go_on(self, steps: int) -> None:
        """Let it say so many more."""
        for _ in range(steps):
            self.turn.release()


async def until(client: openai.AsyncOpenAI, name: str, *statuses: str) -> Any:
    """The response once it has one of these statuses."""
    return await until_async(
        lambda: client.responses.retrieve(name), name, lambda found: found.status in statuses
    )


async def test_a_response_is_made_without_its_client(mesh: GatewayMesh) -> None:
    """create answers at once; the response goes from queued over in_progress to completed."""
    mesh.worker.script = steps = Steps("Hel", "lo")
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        assert (made.status, made.background, made.output) == ("queued", True, [])
        await until(client, made.id, "in_progress")
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model=MODEL, input="Hi", previous_response_id=made.id)
        assert "not over yet" in str(caught.value)
        steps.go_on(3)
        over = await until(client, made.id, "completed")
        assert over.output_text == "Hello"
        assert over.usage is not None
        mesh.worker.script = says("Yes")
        await client.responses.create(model=MODEL, input="Sure?", previous_response_id=made.id)
    assert [m.role for m in mesh.worker.requests[-1].chat.messages] == [
        pb.ROLE_USER,
        pb.ROLE_ASSISTANT,
        pb.ROLE_USER,
    ]


async def test_a_stream_is_taken_up_again(mesh: GatewayMesh) -> None:
    """Who leaves a stream gets the rest from where it was, also while it is still made, and the whole again
    after it."""
    mesh.worker.script = steps = Steps("Hel", "lo", " there")
    seen: list[Any] = []
    async with mesh.openai() as client:
        async with await client.responses.create(
            model=MODEL, input="Hi", background=True, stream=True
        ) as stream:
            steps.go_on(1)
            async for event in stream:
                seen.append(event)
                if event.type == "response.output_text.delta":
                    break
        assert [event.type for event in seen[:3]] == [
            "response.created",
            "response.queued",
            "response.in_progress",
        ]
        name = seen[0].response.id
        steps.go_on(1)
        resumed = client.responses.retrieve(name, stream=True, starting_after=seen[-1].sequence_number)
        async for event in await resumed:
            seen.append(event)
            if event.type == "response.output_text.delta":
                steps.go_on(2)
        again = [event async for event in await client.responses.retrieve(name, stream=True)]
        none = [
            e
            async for e in await client.responses.retrieve(
                name, stream=True, starting_after=again[-1].sequence_number
            )
        ]
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert [event.to_dict() for event in again] == [event.to_dict() for event in seen]
    assert seen[-1].type == "response.completed"
    assert seen[-1].response.output_text == "Hello there"
    assert none == []


async def test_a_response_is_given_up(mesh: GatewayMesh) -> None:
    """cancel frees the worker, keeps the items that were whole, and may be asked for again; followers hear of
    the end."""

    async def thinks(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        yield delta("", reasoning="Hm.")
        yield delta("Once")
        await asyncio.Event().wait()

    mesh.worker.script = thinks
    mesh.worker.cancelled.clear()
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        following = asyncio.create_task(mesh.http.get(f"{PATH}/{made.id}", params={"stream": True}))
        await until(client, made.id, "in_progress")
        async for event in await client.responses.retrieve(made.id, stream=True):
            if event.type == "response.output_item.done":
                break
        given_up = await client.responses.cancel(made.id)
        assert given_up.status == "cancelled"
        assert [item.type for item in given_up.output] == ["reasoning"]
        await asyncio.wait_for(mesh.worker.cancelled.wait(), PATIENCE_S)
        assert (await client.responses.cancel(made.id)).to_dict() == given_up.to_dict()
        events = events_of((await following).text)
        assert events[-1]["type"] == "response.incomplete"
        assert events[-1]["response"]["status"] == "cancelled"
        mesh.worker.script = says("Hi")
        waited = await client.responses.create(model=MODEL, input="Hi")
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.cancel(waited.id)
        assert "background" in str(caught.value)
        with pytest.raises(openai.NotFoundError):
            await client.responses.cancel("resp_other")


async def test_the_events_of_others_are_told_in_whole_pieces(mesh: GatewayMesh) -> None:
    """retrieve with stream tells of a response that was not in background item by item; a place in events
    that were not kept is refused."""
    mesh.worker.script = everything
    async with mesh.openai() as client:
        made = await client.responses.create(
            model=MODEL, input="Hi", include=["message.output_text.logprobs"], top_logprobs=1
        )
    answer = await mesh.http.get(f"{PATH}/{made.id}", params={"stream": "true"})
    events = events_of(answer.text)
    assert sdk_types.response(events[-1]["response"]).to_dict() == made.to_dict()
    assert [e["delta"] for e in events if e["type"].endswith(".delta")] == [
        "Let me think.",
        "é! Now",
        *['{"city": "Paris"}'] * 2,
    ]
    answer = await mesh.http.get(f"{PATH}/{made.id}", params={"stream": "true", "starting_after": 3})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "starting_after"


async def test_a_response_waits_for_room(mesh: GatewayMesh) -> None:
    """A mesh that is full now is asked again; what is refused for good fails with the reason."""
    refused = 0

    async def later(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        nonlocal refused
        refused += 1
        if refused == 1:
            raise overloaded("Full.", retry_after=0.1)
        async for event in says("Hi")(worker, request):
            yield event

    mesh.worker.script = later
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        assert (await until(client, made.id, "completed", "failed")).output_text == "Hi"
        unknown = await client.responses.create(model="no-such-model", input="Hi", background=True)
        failed = await until(client, unknown.id, "completed", "failed")
    assert failed.error is not None
    assert failed.error.code == "invalid_prompt"
    assert "no-such-model" in failed.error.message


async def test_a_dead_process_leaves_a_failed_response(tmp_path: Path) -> None:
    """What a gateway did not end is found failed by the others once its claim has lapsed; one that is stopped
    in order says so itself."""
    store = tmp_path / "store"
    async with gateway_mesh(FakeWorker(script=hang), store=store, drain_limit_s=0.2) as one:
        async with one.openai() as client:
            made = await client.responses.create(model=MODEL, input="Hi", background=True)
            left = await client.responses.create(model=MODEL, input="Hi", background=True)
            await until(client, made.id, "in_progress")
            await until(client, left.id, "in_progress")
        with sqlite3.connect(store / "store.sqlite3") as database:
            changed = database.execute(
                "UPDATE runs SET claimed_until = 1, owner = 'gone' WHERE id = ?", (left.id,)
            )
            assert changed.rowcount == 1
        database.close()
        async with gateway_mesh(FakeWorker(id="w2"), store=store) as two, two.openai() as client:
            lost = await client.responses.retrieve(left.id)
            assert lost.status == "failed"
            assert lost.error is not None
            assert "ended before it was done" in lost.error.message
            events = events_of((await two.http.get(f"{PATH}/{left.id}", params={"stream": True})).text)
            assert events[-1]["type"] == "response.failed"
            running = await client.responses.retrieve(made.id)
            assert running.status == "in_progress"
            other = await client.responses.create(model=MODEL, input="Hi", background=True)
            assert (await until(client, other.id, "completed")).output_text
    async with gateway_mesh(FakeWorker(), store=store) as again, again.openai() as client:
        stopped = await client.responses.retrieve(made.id)
        assert stopped.status == "failed"
        assert stopped.error is not None
        assert "stopped" in stopped.error.message


async def test_those_in_background_are_bounded() -> None:
    """One more than may be is refused before anything is kept of it."""
    worker = FakeWorker(script=hang)
    async with (
        gateway_mesh(worker, background_responses=1, drain_limit_s=0.1) as mesh,
        mesh.openai() as client,
    ):
        first = await client.responses.create(model=MODEL, input="Hi", background=True)
        with pytest.raises(openai.APIStatusError) as caught:
            await client.responses.create(model=MODEL, input="Hi", background=True)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"]
        await client.responses.cancel(first.id)
        await client.responses.create(model=MODEL, input="Hi", background=True)


async def test_time_is_bounded() -> None:
    """A response whose budget is over ends as far as it came."""
    script = refuse(overloaded("Full.", retry_after=0.2))
    async with (
        gateway_mesh(FakeWorker(script=script), background_limit_s=0.5) as mesh,
        mesh.openai() as client,
    ):
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        failed = await until(client, made.id, "failed")
        assert failed.error is not None
        assert failed.error.message == "Full."


async def test_the_clients_own_deadline_is_that_of_the_response(mesh: GatewayMesh) -> None:
    """What it says of its patience with a silent connection is not: that was over with the answer to its
    request."""
    mesh.worker.script = refuse(overloaded("Full.", retry_after=0.2))
    headers = {"x-request-timeout": "0.5", "x-request-id": "hasty"}
    async with mesh.openai() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(
                model=MODEL, input="Hi", background=True, extra_headers={"x-request-timeout": "soon"}
            )
        assert "x-request-timeout" in str(caught.value)
        hasty = await client.responses.create(model=MODEL, input="Hi", background=True, extra_headers=headers)
        patient = await client.responses.create(
            model=MODEL, input="Hi", background=True, extra_headers={"x-stainless-read-timeout": "0.1"}
        )
        failed = await until(client, hasty.id, "failed")
        assert failed.error.message == "Full."
        mesh.worker.script = says("Hi")
        assert (await until(client, patient.id, "completed", "failed")).output_text == "Hi"
    record = await record_of(mesh, "hasty")  # all tries are of one request
    assert record.state == REQUEST_STATE_FAILED
    assert len(record.attempts) > 1


async def test_a_deadline_is_told_to_who_looks_later(mesh: GatewayMesh) -> None:
    """By OpenAI's own SDK, whole and as the last event of what it hears."""
    mesh.worker.script = says("Once", reason=pb.FINISH_REASON_DEADLINE)
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        found = await until(client, made.id, "incomplete")
        stream = await client.responses.retrieve(made.id, stream=True)
        *_, last = [event async for event in stream]
    told = {"reason": "max_output_tokens", "stop_reason": "deadline"}
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert found.incomplete_details.model_dump() == last.response.incomplete_details.model_dump() == told
