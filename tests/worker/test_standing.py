"""Standing instructions come wherever clients put them, and reach the model where its template takes them."""

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.text.standing import Place, placed
from inferloom_worker.text.template import ChatTemplate

EACH = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
FIRST_ONLY = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)
DROPPING = (
    "{% if messages[0].role in ('system', 'developer') %}<D>{{ messages[0].content }}{% endif %}"
    "{% for m in messages if m.role in ('user', 'assistant') %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
LEADING = (
    "{% set ns = namespace(begun=false) %}{% for m in messages %}"
    "{% if m.role == 'system' and ns.begun %}{{ raise_exception('too late') }}{% endif %}"
    "{% if m.role != 'system' %}{% set ns.begun = true %}{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
REFUSING = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
DEAF = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
ONLY_NAMED = FIRST_ONLY + "{# a developer may read this #}{% if false %}developer{% endif %}"


def said(role: "pb.Role.ValueType", text: str) -> pb.ChatMessage:
    """A turn."""
    return pb.ChatMessage(role=role, parts=[pb.ContentPart(text=text)])


CONVERSATION = pb.ChatInput(
    messages=[
        said(pb.ROLE_SYSTEM, "A"),
        said(pb.ROLE_DEVELOPER, "B"),
        said(pb.ROLE_USER, "c"),
        said(pb.ROLE_ASSISTANT, "d"),
        said(pb.ROLE_SYSTEM, "E"),
        said(pb.ROLE_USER, "f"),
    ]
)
"""As an agent sends it: instructions, its developer's, and a reminder."""


def prompt(source: str, chat: pb.ChatInput) -> str:
    """What a model with this template reads."""
    template = ChatTemplate(source, {})
    template.check()
    turns, tools = Dialect(template, bytes_tokenizer()).turns(chat)
    return template.render(turns, tools=tools)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (EACH, "<system>A<system>B<user>c<assistant>d<system>E<user>f"),
        (FIRST_ONLY, "<system>A\n\nB\n\nE<user>c<assistant>d<user>f"),
        (DROPPING, "<D>A\n\nB\n\nE<user>c<assistant>d<user>f"),
        (LEADING, "<system>A<system>B<system>E<user>c<assistant>d<user>f"),
        (REFUSING, "<user>A\n\nB\n\nE\n\nc<assistant>d<user>f"),
        (DEAF, "<user>A\n\nB\n\nE\n\nc<assistant>d<user>f"),
        (ONLY_NAMED, "<system>A\n\nB\n\nE<user>c<assistant>d<user>f"),
    ],
    ids=["each", "first only", "drops others", "leading", "refuses the system", "deaf", "names a developer"],
)
def test_standing_instructions_are_where_the_template_takes_them(source: str, expected: str) -> None:
    """None is lost, and none is a reason to refuse a conversation."""
    assert prompt(source, CONVERSATION) == expected


def test_words_about_tools_join_what_was_merged() -> None:
    """They are the system's too."""
    chat = pb.ChatInput(tools=[pb.Tool(name="now")])
    chat.MergeFrom(CONVERSATION)

    assert prompt(FIRST_ONLY, chat).startswith("<system>A\n\nB\n\nE\n\nYou can call these functions.")
    assert prompt(REFUSING, chat).startswith("<user>You can call these functions.")


def test_an_instruction_that_does_not_stay_the_last_cannot_be_continued() -> None:
    """Another turn would be."""
    chat = pb.ChatInput(
        messages=[said(pb.ROLE_USER, "a"), said(pb.ROLE_SYSTEM, "b")],
        template=pb.TemplateOptions(continue_final_message=True),
    )

    assert prompt(EACH, chat) == "<user>a<system>b"
    with pytest.raises(InferloomError) as caught:
        prompt(FIRST_ONLY, chat)
    assert caught.value.param == "chat.template.continue_final_message"


@pytest.mark.parametrize("place", Place)
def test_a_conversation_without_them_stays_as_it_is(place: Place) -> None:
    """And one of nothing else has a turn for the model to answer."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    alone = [{"role": "system", "content": "a"}]

    assert placed(turns, place) == turns
    assert [turn["content"] for turn in placed(alone, place)] == ["a"]
