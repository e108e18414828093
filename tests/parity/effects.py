"""For each field, two requests to a real worker that differ in it alone, and must come to different
things: other tokens, other numbers, or a refusal."""

from dataclasses import dataclass
from typing import Any

from tests.parity.samples import Body, merged

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}{% if m.name %} {{ m.name }}{% endif %}>{{ m.content or '' }}"
    "{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}"
    "{% for c in m.tool_calls or [] %}[{{ c.id }}{{ c.function.name }}{{ c.function.arguments | tojson }}]"
    "{% endfor %}"
    "{% if m.tool_call_id %}{{ m.tool_call_id }}{% endif %}{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}{{ mood }}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""Shows everything that a conversation can hold."""

LONG = "The quick brown fox jumps over the lazy dog. " * 8

TEXT: Body = {
    "model": "base",
    "text": "hello",
    "sampling": {"temperature": 0, "seed": "5"},
    "stopping": {"maxTokens": 12},
}
DRAWN: Body = merged(TEXT, {"sampling": {"temperature": 1.5}})
CHAT: Body = merged(
    TEXT, {"text": None, "chat": {"messages": [{"role": "ROLE_USER", "parts": [{"text": "Hi"}]}]}}
)
SHOWN: Body = merged(CHAT, {"output": {"promptTokenIds": True}})
"""An answer that shows what was rendered."""
TOOL = {"name": "look", "description": "Looks.", "parametersJsonSchema": '{"type":"object"}'}
UNIQUE = '{"type":"object","properties":{"a":{"type":"array","uniqueItems":true}}}'
OTHER = {"name": "find", "description": "Finds.", "parametersJsonSchema": '{"type":"object"}'}
CALLING: Body = merged(
    CHAT,
    {
        "chat": {"tools": [TOOL, OTHER], "toolChoice": {"mode": "TOOL_CHOICE_MODE_REQUIRED"}},
        "stopping": {"maxTokens": 120},
    },
)


@dataclass(frozen=True, slots=True)
class Effect:
    """Two requests. ``change`` is merged into ``base``, and is where the field is."""

    base: Body
    change: Body

    @property
    def changed(self) -> Body:
        """The other request."""
        return merged(self.base, self.change)


def turn(role: str = "USER", *parts: Body, **more: Any) -> Body:
    """A conversation of one turn, and one of the user."""
    said = {"role": f"ROLE_{role}", "parts": list(parts) or [{"text": "Hi"}], **more}
    return {"chat": {"messages": [said, {"role": "ROLE_USER", "parts": [{"text": "So?"}]}]}}


def call(**fields: Any) -> Body:
    """A turn of the assistant with a call, and its result."""
    asked = {"toolCall": {"id": "c1", "name": "look", "arguments": '{"a":1}', **fields}}
    found = {"toolResult": {"toolCallId": fields.get("id", "c1"), "content": "found"}}
    return {
        "chat": {
            "messages": [
                {"role": "ROLE_ASSISTANT", "parts": [asked]},
                {"role": "ROLE_TOOL", "parts": [found]},
            ]
        }
    }


def result(**fields: Any) -> Body:
    """A result of a call."""
    found = {"toolResult": {"toolCallId": "c1", "content": "found", **fields}}
    return turn("TOOL", found)


CONVERSATION: dict[str, tuple[Body, Body]] = {
    "chat.messages": ({}, turn()),
    "chat.messages[].role": (turn(), turn("SYSTEM")),
    "chat.messages[].parts[].text": (turn(), turn("USER", {"text": "Hello"})),
    "chat.messages[].parts[].reasoning": (
        turn("ASSISTANT"),
        turn("ASSISTANT", {"reasoning": "Hm."}, {"text": "Hi"}),
    ),
    "chat.messages[].name": (turn(), turn(name="Ann")),
    "chat.messages[].parts[].tool_call.name": (call(), call(name="find")),
    "chat.messages[].parts[].tool_call.arguments": (call(), call(arguments='{"a":2}')),
    "chat.messages[].parts[].tool_call.custom": (call(), call(arguments="plain", custom=True)),
    "chat.messages[].parts[].tool_result.content": (result(), result(content="lost")),
    "chat.template.add_generation_prompt": ({}, {"chat": {"template": {"addGenerationPrompt": False}}}),
    "chat.template.continue_final_message": ({}, {"chat": {"template": {"continueFinalMessage": True}}}),
    "chat.template.variables": ({}, {"chat": {"template": {"variables": {"mood": "glad"}}}}),
    "chat.tools": ({}, {"chat": {"tools": [TOOL]}}),
    "chat.tools[].name": ({"chat": {"tools": [TOOL]}}, {"chat": {"tools": [{**TOOL, "name": "find"}]}}),
    "chat.tools[].description": (
        {"chat": {"tools": [TOOL]}},
        {"chat": {"tools": [{**TOOL, "description": "Sees."}]}},
    ),
    "chat.tools[].parameters_json_schema": (
        {"chat": {"tools": [TOOL]}},
        {"chat": {"tools": [{**TOOL, "parametersJsonSchema": '{"type":"object","title":"t"}'}]}},
    ),
}
"""Of Generate and Tokenize: what is rendered."""


def custom(**grammar: str) -> Body:
    """A tool that takes text."""
    return {"name": "raw", "description": "Raw.", "custom": grammar}


GENERATE: dict[str, Effect] = {
    "text": Effect(TEXT, {"text": "world"}),
    "token_ids.ids": Effect(TEXT, {"text": None, "tokenIds": {"ids": [5, 6]}}),
    "sampling.temperature": Effect(TEXT, {"sampling": {"temperature": 2}}),
    "sampling.top_p": Effect(DRAWN, {"sampling": {"topP": 0.01}}),
    "sampling.top_k": Effect(DRAWN, {"sampling": {"topK": 1}}),
    "sampling.min_p": Effect(DRAWN, {"sampling": {"minP": 1}}),
    "sampling.presence_penalty": Effect(TEXT, {"sampling": {"presencePenalty": 2}}),
    "sampling.frequency_penalty": Effect(TEXT, {"sampling": {"frequencyPenalty": 2}}),
    "sampling.repetition_penalty": Effect(TEXT, {"sampling": {"repetitionPenalty": 10}}),
    "sampling.logit_bias": Effect(TEXT, {"sampling": {"logitBias": {"65": 100}}}),
    "sampling.allowed_token_ids": Effect(TEXT, {"sampling": {"allowedTokenIds": [65, 66]}}),
    "sampling.bad_words": Effect(
        merged(TEXT, {"sampling": {"logitBias": {"65": 100}}}), {"sampling": {"badWords": ["A"]}}
    ),
    "suffix": Effect(TEXT, {"suffix": "end"}),
    "truncate_prompt_tokens": Effect(TEXT, {"truncatePromptTokens": 2}),
    "sampling.seed": Effect(DRAWN, {"sampling": {"seed": "6"}}),
    "sampling.n": Effect(TEXT, {"sampling": {"n": 2}}),
    "stopping.max_tokens": Effect(TEXT, {"stopping": {"maxTokens": 3}}),
    "stopping.min_tokens": Effect(
        merged(TEXT, {"stopping": {"stopTokenIds": [65]}, "sampling": {"logitBias": {"65": 100}}}),
        {"stopping": {"minTokens": 3}},
    ),
    "stopping.stop": Effect(
        merged(TEXT, {"sampling": {"logitBias": {"65": 100}}}), {"stopping": {"stop": ["AA"]}}
    ),
    "stopping.stop_token_ids": Effect(
        merged(TEXT, {"sampling": {"logitBias": {"65": 100}}}), {"stopping": {"stopTokenIds": [65]}}
    ),
    "stopping.ignore_eos": Effect(
        merged(TEXT, {"sampling": {"logitBias": {"256": 100}}}), {"stopping": {"ignoreEos": True}}
    ),
    "stopping.include_stop": Effect(
        merged(TEXT, {"sampling": {"logitBias": {"65": 100}}, "stopping": {"stop": ["AA"]}}),
        {"stopping": {"includeStop": True}},
    ),
    "constraint": Effect(TEXT, {"constraint": {"regex": "[xyz]{5}"}}),
    "constraint.json_schema": Effect(TEXT, {"constraint": {"jsonSchema": '{"const":"a"}'}}),
    "constraint.json_object": Effect(TEXT, {"constraint": {"jsonObject": True}}),
    "constraint.regex": Effect(TEXT, {"constraint": {"regex": "[xyz]{5}"}}),
    "constraint.choice.texts": Effect(TEXT, {"constraint": {"choice": {"texts": ["yes", "no"]}}}),
    "constraint.lark": Effect(TEXT, {"constraint": {"lark": 'start: "a" "b"'}}),
    "output.logprobs": Effect(TEXT, {"output": {"logprobs": True}}),
    "output.top_logprobs": Effect(
        merged(TEXT, {"output": {"logprobs": True}}), {"output": {"topLogprobs": 2}}
    ),
    "output.prompt_logprobs": Effect(TEXT, {"output": {"promptLogprobs": 1}}),
    "output.echo": Effect(TEXT, {"output": {"echo": True}}),
    "output.skip_special_tokens": Effect(
        merged(TEXT, {"sampling": {"logitBias": {"257": 100}}}), {"output": {"skipSpecialTokens": False}}
    ),
    "output.prompt_token_ids": Effect(TEXT, {"output": {"promptTokenIds": True}}),
    "cache_salt": Effect(merged(TEXT, {"text": LONG, "cacheSalt": "a"}), {"cacheSalt": "b"}),
    "chat.tools[].strict": Effect(  # what cannot be enforced is let go, or refused
        merged(CALLING, {"chat": {"tools": [{**TOOL, "parametersJsonSchema": UNIQUE}]}}),
        {"chat": {"tools": [{**TOOL, "parametersJsonSchema": UNIQUE, "strict": True}]}},
    ),
    "chat.tools[].custom.lark": Effect(
        merged(CALLING, {"chat": {"tools": [custom(lark='start: "a"')]}}),
        {"chat": {"tools": [custom(lark='start: "b"')]}},
    ),
    "chat.tools[].custom.regex": Effect(
        merged(CALLING, {"chat": {"tools": [custom(regex="a")]}}),
        {"chat": {"tools": [custom(regex="b")]}},
    ),
    "chat.tool_choice": Effect(CALLING, {"chat": {"toolChoice": {"mode": "TOOL_CHOICE_MODE_NONE"}}}),
    "chat.tool_choice.mode": Effect(CALLING, {"chat": {"toolChoice": {"mode": "TOOL_CHOICE_MODE_NONE"}}}),
    "chat.tool_choice.function_name": Effect(
        merged(CALLING, {"chat": {"toolChoice": {"mode": None, "functionName": "look"}}}),
        {"chat": {"toolChoice": {"functionName": "find"}}},
    ),
    "chat.tool_choice.allowed_names": Effect(
        merged(CALLING, {"chat": {"toolChoice": {"allowedNames": ["look"]}}}),
        {"chat": {"toolChoice": {"allowedNames": ["find"]}}},
    ),
    "chat.parallel_tool_calls": Effect(  # with room for a second call
        merged(CALLING, {"stopping": {"maxTokens": 400}}), {"chat": {"parallelToolCalls": False}}
    ),
    **{path: Effect(merged(SHOWN, base), change) for path, (base, change) in CONVERSATION.items()},
}

VECTORS: Body = {"model": "base", "inputs": [{"text": "hello"}]}
EMBED: dict[str, Effect] = {
    "inputs": Effect(VECTORS, {"inputs": [{"text": "hello"}, {"text": "b"}]}),
    "inputs[].text": Effect(VECTORS, {"inputs": [{"text": "world"}]}),
    "inputs[].token_ids.ids": Effect(VECTORS, {"inputs": [{"tokenIds": {"ids": [5, 6]}}]}),
    "dimensions": Effect(VECTORS, {"dimensions": 8}),
    "normalize": Effect(VECTORS, {"normalize": False}),
    "truncate": Effect(merged(VECTORS, {"inputs": [{"text": "x" * 9000}]}), {"truncate": True}),
}

RANKED: Body = {"model": "base", "query": "hello", "documents": ["a", "hello world", "xyz"]}
RERANK: dict[str, Effect] = {
    "query": Effect(RANKED, {"query": "xyz"}),
    "queries": Effect(
        merged(RANKED, {"query": None, "queries": ["a", "b", "c"]}), {"queries": ["c", "b", "a"]}
    ),
    "documents": Effect(RANKED, {"documents": ["a"]}),
    "top_n": Effect(RANKED, {"topN": 1}),
    "max_document_tokens": Effect(RANKED, {"maxDocumentTokens": 2}),
    "truncate": Effect(merged(RANKED, {"documents": ["x" * 9000]}), {"truncate": True}),
    "max_tokens": Effect(RANKED, {"maxTokens": 8}),
}

TOKENS: Body = {"model": "base", "text": "hello"}
TOKENIZE: dict[str, Effect] = {
    "text": Effect(TOKENS, {"text": "world"}),
    **{
        path: Effect(merged({"model": "base", "chat": CHAT["chat"]}, base), change)
        for path, (base, change) in CONVERSATION.items()
    },
}

DETOKENIZE: dict[str, Effect] = {
    "token_ids": Effect({"model": "base", "tokenIds": [72]}, {"tokenIds": [73]}),
    "skip_special_tokens": Effect({"model": "base", "tokenIds": [72, 257]}, {"skipSpecialTokens": True}),
}

EFFECTS = {
    "Generate": GENERATE,
    "Embed": EMBED,
    "Rerank": RERANK,
    "Tokenize": TOKENIZE,
    "Detokenize": DETOKENIZE,
}
