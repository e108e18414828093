"""One request that ends its workers costs few of them, and its neighbours nothing."""

import random
from dataclasses import dataclass

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.continuation import able, movable
from inferloom_gateway.calls.suspects import ALONE_S, DEATH_S, FRESH_S, SINGLE_TURNS, Blame, Suspects
from inferloom_gateway.fleet.members import Member


def test_the_first_turns_have_one_suspect() -> None:
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


def test_later_turns_grow_until_nobody_has_come_for_a_while() -> None:
    """So that of hundreds none waits for long: how many a worker takes at each moment."""
    suspects = Suspects()

    def turn(now: float) -> int:
        count = 0
        while suspects.may_take("w", now):
            suspects.enter("w", f"{now}-{count}", now)
            count += 1
            assert count < 100
        return count

    just_s = FRESH_S + 1e-6
    sizes = [turn(just_s * number) for number in range(SINGLE_TURNS + 4)]
    assert sizes == [1] * SINGLE_TURNS + [2, 4, 8, 16]
    assert turn(just_s * (SINGLE_TURNS + 4) + DEATH_S) == 1


def test_what_must_be_alone_is() -> None:
    """It waits for those that are there, and they for it, but not for ever."""
    suspects = Suspects()
    suspects.enter("w", "a", 0.0)
    assert not suspects.may_take("w", FRESH_S, alone=True)
    assert suspects.may_take("w", ALONE_S, alone=True)
    suspects.leave("a")
    assert suspects.may_take("w", 1.0, alone=True)
    suspects.enter("w", "b", 1.0, alone=True)
    assert not suspects.may_take("w", 1.0 + FRESH_S)
    assert suspects.may_take("w", 1.0 + ALONE_S)
    suspects.leave("b")
    assert suspects.may_take("w", 1.0 + FRESH_S)


def test_only_suspects_are_blamed_where_there_are_some() -> None:
    """Whoever finds out first; and everybody, where there are none. Later on it is another matter."""
    suspects = Suspects()
    assert suspects.lost("w", "a", 0.0) is Blame.OWN
    assert suspects.lost("w", "b", 1.0) is Blame.OWN
    suspects.enter("v", "a", 2.0)
    assert suspects.lost("v", "c", 3.0) is Blame.NONE
    assert suspects.lost("v", "a", 3.5) is Blame.OWN
    assert suspects.lost("v", "d", 4.0) is Blame.NONE
    assert suspects.lost("v", "d", 4.0 + DEATH_S) is Blame.OWN
    suspects.enter("u", "a", 20.0)
    suspects.enter("u", "b", 20.0 + FRESH_S)
    assert suspects.lost("u", "a", 21.0) is Blame.SHARED
    assert suspects.lost("u", "b", 21.0) is Blame.SHARED


def test_a_worker_that_came_back_and_is_lost_again_is_another() -> None:
    """Who was on it before, or suspect then, is not blamed for the second."""
    suspects = Suspects()
    for request in ("a", "b"):
        assert suspects.lost("w", request, 0.0, 1) is Blame.OWN
    suspects.enter("w", "a", 1.0)
    suspects.enter("w", "b", 1.0 + FRESH_S)
    assert suspects.lost("w", "a", 2.0, 2) is Blame.SHARED
    assert suspects.lost("w", "b", 2.0, 2) is Blame.SHARED
    assert suspects.lost("w", "c", 2.0, 2) is Blame.NONE


@dataclass(slots=True)
class Played:
    """A request of the play below."""

    name: str
    losses: int = 0
    alone: bool = False


def play(
    rng: random.Random, workers: int, neighbours: int, token_s: float
) -> tuple[int, list[Played], float]:
    """Workers with as many neighbours each, on one of which is a request that ends its worker before its
    first token comes; calls find out and go on in any order. Deaths, who was on the first worker, and the
    seconds until all of these were elsewhere or given up."""
    suspects, now, deaths = Suspects(), 0.0, 0
    killer = Played("killer")
    alive = {f"w{at}": [Played(f"{at}-{each}") for each in range(neighbours)] for at in range(workers)}
    alive["w0"].append(killer)
    first = list(alive["w0"])
    waiting: list[Played] = []
    due: dict[str, float] = {}
    end = 0.0
    while waiting or any(killer in there for there in alive.values()):
        now += 0.01
        for name in [name for name, at in due.items() if at <= now]:
            suspects.leave(name)
            del due[name]
            next(each for each in first if each.name == name).alone = False
        for worker in [each for each, there in alive.items() if killer in there]:
            if deaths and due["killer"] - now > token_s / 2:
                continue  # it takes a while
            there = alive.pop(worker)
            deaths += 1
            rng.shuffle(there)
            for each in there:
                suspect = each.name in due
                due.pop(each.name, None)
                blame = suspects.lost(worker, each.name, now)
                if blame is Blame.SHARED and not each.alone:
                    each.alone = True
                elif blame is not Blame.NONE:
                    each.losses += 1
                assert suspect or deaths == 1 or blame is Blame.NONE
                if each.losses < 2:
                    waiting.append(each)
        rng.shuffle(waiting)
        for each in list(waiting):
            if free := [worker for worker in alive if suspects.may_take(worker, now, alone=each.alone)]:
                worker = rng.choice(free)
                if each.losses:
                    suspects.enter(worker, each.name, now, alone=each.alone)
                    due[each.name] = now + token_s
                alive[worker].append(each)
                waiting.remove(each)
        if waiting:
            end = now
    return deaths, first, end


@pytest.mark.parametrize("seed", range(20))
def test_a_request_that_ends_its_workers_ends_two(seed: int) -> None:
    """16 neighbours on four workers, of which none is lost, whatever the order."""
    deaths, (*neighbours, killer), _ = play(random.Random(seed), 4, 4, 0.1)
    assert (deaths, killer.losses) == (2, 2)
    assert max(each.losses for each in neighbours) < 2


@pytest.mark.parametrize("seed", range(10))
def test_among_hundreds_it_ends_three_at_most(seed: int) -> None:
    """And none of its neighbours is given up, nor waits for all the others."""
    deaths, (*neighbours, killer), _ = play(random.Random(seed), 4, 60, 0.1)
    assert deaths <= 3
    assert killer.losses == 2
    assert max(each.losses for each in neighbours) < 2


@pytest.mark.parametrize("token_s", [0.05, 1.0])
def test_hundreds_that_lost_their_worker_go_on_within_seconds(token_s: float) -> None:
    """Nearly always nobody did it. A stream that has begun waits for 10 s, and its reader less."""
    suspects, now = Suspects(), 0.0
    waiting = [f"r{each}" for each in range(256)]
    due: dict[str, float] = {}
    while waiting:
        now += 0.01
        for name in [name for name, at in due.items() if at <= now]:
            suspects.leave(name)
            del due[name]
        while waiting and suspects.may_take("w", now):
            suspects.enter("w", waiting[-1], now)
            due[waiting.pop()] = now + token_s
    assert now < 3.0


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
