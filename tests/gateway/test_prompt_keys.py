"""What prompts have in common, as numbers."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.fleet.prompt_keys import PromptKeys, prompt_keys

SYSTEM, FIRST = (pb.ROLE_SYSTEM, "You are kind."), (pb.ROLE_USER, "Hello")


def chat(*turns: tuple[int, str]) -> pb.GenerateRequest:
    """A conversation."""
    messages = [
        pb.ChatMessage(role=role, parts=[pb.ContentPart(text=text)])  # type: ignore[arg-type] # an enum is an int
        for role, text in turns
    ]
    return pb.GenerateRequest(model="chat", chat=pb.ChatInput(messages=messages))


def test_a_conversation_keeps_its_key() -> None:
    """Later turns do not change the keys, and are known; another first question, model or tenant does."""
    key = prompt_keys(chat(SYSTEM, FIRST))
    later = prompt_keys(chat(SYSTEM, FIRST, (pb.ROLE_ASSISTANT, "Hi"), (pb.ROLE_USER, "More")))
    assert (later.shared, later.own) == (key.shared, key.own)
    assert (key.later, later.later) == (False, True)
    assert prompt_keys(chat(SYSTEM, (pb.ROLE_USER, "Bye"))).own != key.own
    other = chat(SYSTEM, FIRST)
    other.model = "other"
    assert prompt_keys(other).own != key.own
    salted = chat(SYSTEM, FIRST)
    salted.cache_salt = "tenant"
    assert prompt_keys(salted).own != key.own


def test_conversations_share_their_instructions() -> None:
    """What comes before the first user turn; one without it shares nothing that is known."""
    key = prompt_keys(chat(SYSTEM, FIRST))
    assert prompt_keys(chat(SYSTEM, (pb.ROLE_USER, "Bye"))).shared == key.shared != 0
    assert prompt_keys(chat((pb.ROLE_SYSTEM, "Be brief."), FIRST)).shared != key.shared
    assert prompt_keys(chat(FIRST)).shared == 0


def test_texts_and_tokens_are_hashed_by_how_they_begin() -> None:
    """They share the first part; their own key reads four times as far, and no further."""

    def text(value: str) -> PromptKeys:
        return prompt_keys(pb.GenerateRequest(model="chat", text=value))

    def tokens(*ids: int) -> PromptKeys:
        return prompt_keys(pb.GenerateRequest(model="chat", token_ids=pb.TokenIds(ids=ids)))

    one, other = text("a" * 2000 + "b"), text("a" * 2000 + "c")
    assert one.shared == other.shared != 0
    assert one.own != other.own
    assert text("a" * 5000 + "b") == text("a" * 5000 + "c")
    assert text("ab").own != text("ac").own
    assert text("ab").shared == 0
    assert tokens(*range(300), 1).shared == tokens(*range(300), 2).shared != 0
    assert tokens(*range(300), 1).own != tokens(*range(300), 2).own
    assert tokens(*range(2000), 1) == tokens(*range(2000), 2)
    assert tokens(1, 2).own != tokens(2, 1).own


def test_a_cache_key_is_what_prompts_share() -> None:
    """Whatever they are; apart for models, salts and keys."""

    def shared(text: str, model: str = "chat", key: str = "k", salt: str = "") -> int:
        request = pb.GenerateRequest(model=model, text=text, prompt_cache_key=key, cache_salt=salt)
        return prompt_keys(request).shared

    keys = {shared("a"), shared("b"), shared("c" * 5000)}
    others = {shared("a", key="l"), shared("a", salt="s"), shared("a", model="other")}
    assert len(keys) == 1
    assert len(others | keys) == 4
    assert shared("a", key="") == 0
