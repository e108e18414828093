"""Which worker takes a request."""

from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.router import BOUND, candidates, choose, prompt_key
from tests.gateway.samples import EMBED, entry, snapshot


def workers(*ids: str, capacity: int = 8) -> list[Member]:
    """Usable workers of the model ``chat``."""
    fleet = Fleet()
    fleet.apply(snapshot(*(entry(name, capacity=capacity) for name in ids)), 0)
    return fleet.members()


def chat(*turns: tuple[int, str]) -> pb.GenerateRequest:
    """A conversation."""
    messages = [
        pb.ChatMessage(role=role, parts=[pb.ContentPart(text=text)])  # type: ignore[arg-type] # an enum is an int
        for role, text in turns
    ]
    return pb.GenerateRequest(model="chat", chat=pb.ChatInput(messages=messages))


def always(key: int) -> Callable[[], int]:
    """What gives this key for every prompt."""
    return lambda: key


def test_one_worker_costs_no_hash() -> None:
    """With a single candidate the prompt is not looked at."""
    (member,) = workers("a")
    assert choose([member], key=lambda: 1 // 0) is member


def test_equal_prompts_go_to_the_same_worker() -> None:
    """Without load, the choice depends on the prompt alone, not on the order of the workers."""
    members = workers("a", "b", "c")
    for key in range(50):
        assert choose(members, always(key)) is choose(members[::-1], always(key))


def test_distinct_prompts_spread_evenly() -> None:
    """Three idle workers get about a third of distinct prompts each."""
    members = workers("a", "b", "c")
    keys = [prompt_key(pb.GenerateRequest(model="chat", text=f"prompt {number}")) for number in range(900)]
    counts = Counter(choose(members, always(key)).id for key in keys)
    assert min(counts.values()) >= 240


def test_a_worker_that_goes_moves_only_its_own_prompts() -> None:
    """Prompts of the workers that stay keep their worker."""
    members = workers("a", "b", "c")
    before = {key: choose(members, always(key)) for key in range(200)}
    rest = [member for member in members if member.id != "b"]
    assert all(choose(rest, always(key)) is member for key, member in before.items() if member.id != "b")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 5))
def test_no_worker_goes_over_its_bound(keys: list[int], count: int) -> None:
    """However alike the prompts are, no worker gets more than 1.25 times its share, rounded up."""
    members = workers(*(f"w{number}" for number in range(count)))
    for key in keys:
        choose(members, always(key)).in_flight += 1
    assert sum(member.in_flight for member in members) == len(keys)
    assert max(member.in_flight for member in members) <= BOUND * len(keys) / count + 1


def test_bounds_follow_capacity() -> None:
    """Of requests that are all alike, a worker of four times the capacity takes about four times as many."""
    small, large = workers("small", capacity=2)[0], workers("large", capacity=8)[0]
    for _ in range(100):
        choose([small, large], lambda: 7).in_flight += 1
    assert small.in_flight <= 26
    assert large.in_flight >= 74


def test_without_a_prompt_the_least_loaded_is_chosen() -> None:
    """Embeddings go where there is most room."""
    members = workers("a", "b")
    members[0].in_flight = 1
    assert choose(members, None) is members[1]


def test_only_workers_that_can_do_the_task_are_candidates() -> None:
    """A worker needs the task, and must not have been tried."""
    fleet = Fleet()
    fleet.apply(snapshot(entry("a"), entry("b", models=(EMBED,))), 0)
    assert candidates(fleet.holding("embed"), "embed", pb.TASK_CHAT, 0) == []
    found = candidates(fleet.holding("chat"), "chat", pb.TASK_CHAT, 0)
    assert [member.id for member in found] == ["a"]
    assert candidates(fleet.holding("chat"), "chat", None, 0, found) == []


def test_suspect_and_ejected_workers_are_the_last_resort() -> None:
    """They take requests only where nobody better is left; unreachable ones never do."""
    fleet = Fleet()
    suspect = entry("suspect", lease=rpb.LEASE_STATE_SUSPECT)
    fleet.apply(snapshot(entry("good"), suspect, entry("gone")), 0)
    members = {member.id: member for member in fleet.members()}
    members["gone"].health.reachable = False
    found = candidates(fleet.holding("chat"), "chat", None, 0)
    assert [member.id for member in found] == ["good"]
    members["good"].health.eject(0)
    assert {member.id for member in candidates(fleet.holding("chat"), "chat", None, 0)} == {"good", "suspect"}


def test_a_conversation_keeps_its_key() -> None:
    """Later turns do not change the key; another first question, model or tenant does."""
    system, first = (pb.ROLE_SYSTEM, "You are kind."), (pb.ROLE_USER, "Hello")
    key = prompt_key(chat(system, first))
    assert prompt_key(chat(system, first, (pb.ROLE_ASSISTANT, "Hi"), (pb.ROLE_USER, "More"))) == key
    assert prompt_key(chat(system, (pb.ROLE_USER, "Bye"))) != key
    other = chat(system, first)
    other.model = "other"
    assert prompt_key(other) != key
    salted = chat(system, first)
    salted.cache_salt = "tenant"
    assert prompt_key(salted) != key


def test_texts_and_tokens_are_hashed_by_how_they_begin() -> None:
    """What follows the leading part does not matter."""

    def text(value: str) -> int:
        return prompt_key(pb.GenerateRequest(model="chat", text=value))

    def tokens(*ids: int) -> int:
        return prompt_key(pb.GenerateRequest(model="chat", token_ids=pb.TokenIds(ids=ids)))

    assert text("a" * 2000 + "b") == text("a" * 2000 + "c")
    assert text("ab") != text("ac")
    assert tokens(*range(300), 1) == tokens(*range(300), 2)
    assert tokens(1, 2) != tokens(2, 1)


def test_a_worker_that_says_not_now_is_the_very_last_resort() -> None:
    """For the model that it named; it is asked where there is nobody else."""
    a, b = workers("a", "b")
    a.health.not_now("chat", 10)
    b.health.eject(0)
    assert candidates([a, b], "chat", None, 5) == [b]
    assert candidates([a], "chat", None, 5) == [a]
    assert candidates([a, b], "chat", None, 11) == [a]


def test_the_parts_of_one_request_stay_with_one_kind() -> None:
    """The first chosen leads, the first that accepts decides; a card that tells nothing is let pass."""
    a, b, c = workers("a", "b", "c")
    for member, kind in ((a, "x"), (b, "y"), (c, "x")):
        card = pb.Model()
        card.CopyFrom(member.models["chat"])
        card.compute_hash = kind
        member.models["chat"] = card
    pin = ComputePin()
    assert pin.narrow([a, b, c], "chat") == [a, b, c]
    pin.lead(b, "chat")
    assert pin.narrow([a, b, c], "chat") == [b]
    assert pin.narrow([a, c], "chat") == [a, c]
    assert pin.accept("x")
    assert pin.narrow([a, b, c], "chat") == [a, c]
    assert not pin.accept("y")
    assert pin.accept("")
    b.models["chat"].compute_hash = ""
    assert pin.narrow([a, b, c], "chat") == [a, b, c]


def test_a_cache_key_stands_for_the_beginning() -> None:
    """Whatever the prompts are; apart for models, salts and keys."""
    keys = {
        prompt_key(pb.GenerateRequest(model="chat", text=text, prompt_cache_key="k")) for text in ("a", "b")
    }
    others = {
        prompt_key(pb.GenerateRequest(model=model, text="a", prompt_cache_key=key, cache_salt=salt))
        for model, key, salt in (("chat", "", ""), ("chat", "l", ""), ("chat", "k", "s"), ("other", "k", ""))
    }
    assert len(keys) == 1
    assert len(others | keys) == 5
