"""One request that ends its workers costs few of them, and its neighbours nothing."""

import random

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.continuation import able, movable
from inferloom_gateway.calls.suspects import DEATH_S, FRESH_S, TAKEN_S, Suspects
from inferloom_gateway.fleet.members import Member


def test_a_worker_gets_one_suspect_at_a_time() -> None:
    """The next when the one before has got a token, has left, or has been there for a while."""
    suspects = Suspects()
    assert suspects.may_take("w", 0.0)
    suspects.enter("w", "a", 0.0)
    assert not suspects.may_take("w", FRESH_S / 2)
    assert suspects.may_take("v", FRESH_S / 2)
    assert suspects.may_take("w", FRESH_S)
    suspects.leave("a")
    assert suspects.may_take("w", FRESH_S / 2)
    suspects.leave("a")


def test_only_suspects_are_blamed_where_there_are_some() -> None:
    """Whoever finds out first; and everybody, where there are none. Later on it is another matter."""
    suspects = Suspects()
    assert suspects.lost("w", "a", 0.0)
    assert suspects.lost("w", "b", 1.0)
    suspects.enter("v", "a", 2.0)
    assert not suspects.lost("v", "c", 3.0)
    assert suspects.lost("v", "a", 3.5)
    assert not suspects.lost("v", "d", 4.0)
    assert suspects.lost("v", "d", 4.0 + DEATH_S)


def test_suspects_of_other_processes_count() -> None:
    """A worker that another process has given one is left alone; nobody here is blamed for its loss, but
    suspects that were there."""
    suspects = Suspects()
    suspects.taken("w", 0.0)
    assert not suspects.may_take("w", TAKEN_S / 2)
    assert suspects.may_take("w", TAKEN_S)
    suspects.enter("w", "a", 1.0)
    assert not suspects.lost("w", "b", 2.0, others=True)
    assert suspects.lost("w", "a", 2.0, others=True)
    assert not suspects.lost("v", "b", 2.0, others=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_request_that_ends_its_workers_ends_two(seed: int) -> None:
    """16 neighbours on four workers, of which none is lost, whatever the order in which calls find out and go
    on. A worker takes a while for the first token, and the request ends it before."""
    rng = random.Random(seed)
    suspects, now, deaths = Suspects(), 0.0, 0
    alive = {f"w{index}": [f"{index}-{each}" for each in range(4)] for index in range(4)}
    alive["w0"].append("killer")
    losses: dict[str, int] = {}
    waiting: list[str] = []
    fresh: list[tuple[float, str]] = []
    while waiting or any("killer" in there for there in alive.values()):
        now += 0.01
        for due, name in [each for each in fresh if each[0] <= now]:
            suspects.leave(name)
            fresh.remove((due, name))
        for worker in [each for each, there in alive.items() if "killer" in there]:
            there = alive.pop(worker)
            deaths += 1
            rng.shuffle(there)
            for name in there:
                if suspects.lost(worker, name, now):
                    losses[name] = losses.get(name, 0) + 1
                if losses.get(name, 0) < 2:
                    waiting.append(name)
        rng.shuffle(waiting)
        for name in list(waiting):
            free = [worker for worker in alive if suspects.may_take(worker, now)]
            if not free:
                break
            worker = rng.choice(free)
            if losses.get(name):
                suspects.enter(worker, name, now)
                fresh.append((now + 0.1, name))
            alive[worker].append(name)
            waiting.remove(name)
    assert (deaths, losses.pop("killer")) == (2, 2)
    assert max(losses.values()) < 2


def member(name: str, instructions: str, context: int = 99, *parameters: str) -> Member:
    """A worker."""
    found = Member(name, f"{name}:1")
    card = pb.Model(id="m", instruction_set=instructions, context_length=context)
    card.supported_parameters.extend(parameters or ["resume"])
    found.models["m"] = card
    return found


def test_a_generation_goes_on_where_it_is_computed_the_same() -> None:
    """With the same instructions and room; with others only if there are none and nobody has named a seed."""
    begun = member("a", "avx512").models["m"]
    others = [member("b", "avx2"), member("c", "avx2", 50), member("d", "avx2", 99, "top_k")]
    same = member("e", "avx512")
    assert able([*others, same], begun, seeded=False) == [same]
    assert able(others, begun, seeded=False) == others[:1]
    assert able(others, begun, seeded=True) == []


def said(continuity: "pb.Continuity.ValueType", *without: str) -> pb.Model:
    """A card that says how its generations go on."""
    return pb.Model(id="m", continuation=pb.Continuation(continuity=continuity, without=without))


def test_what_a_card_says_goes_on_does_and_nothing_else() -> None:
    """A card without a word is one of the version before: all of its generations go on."""
    drawn, greedy, named = pb.GenerateRequest(), pb.GenerateRequest(), pb.GenerateRequest()
    greedy.sampling.temperature = 0
    named.sampling.seed = greedy.sampling.seed = 7
    for asked in (drawn, greedy, named):
        assert movable(pb.Model(id="m"), asked)
        assert movable(said(pb.CONTINUITY_EXACT), asked)
        assert not movable(said(pb.CONTINUITY_NONE), asked)
    tokens = said(pb.CONTINUITY_TOKENS)
    assert [movable(tokens, each) for each in (drawn, greedy, named)] == [True, True, False]


def test_a_generation_does_not_go_on_with_what_its_card_excepts() -> None:
    """A number that asks for nothing, and tools that must not be called, are no use of it."""
    card = said(pb.CONTINUITY_TOKENS, "presence_penalty", "constraint", "tools")
    asked = pb.GenerateRequest(sampling=pb.SamplingOptions(presence_penalty=0, temperature=0))
    assert movable(card, asked)
    asked.sampling.presence_penalty = 0.5
    assert not movable(card, asked)
    assert not movable(card, pb.GenerateRequest(constraint=pb.Constraint(json_object=True)))
    calling = pb.GenerateRequest(chat=pb.ChatInput(tools=[pb.Tool(name="f")]))
    assert not movable(card, calling)
    calling.chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_NONE
    assert movable(card, calling)


def test_cards_that_promise_differently_do_not_go_on_with_each_other() -> None:
    """Who takes over keeps what the one before has promised."""
    other = member("b", "avx512")
    other.models["m"].continuation.continuity = pb.CONTINUITY_TOKENS
    assert able([other], member("a", "avx512").models["m"], seeded=False) == []
    assert able([other], other.models["m"], seeded=False) == [other]
    other.models["m"].continuation.continuity = pb.CONTINUITY_EXACT
    assert able([other], member("a", "avx512").models["m"], seeded=False) == [other]
