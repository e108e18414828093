"""One way to say each REST parameter, and the same in the contract's own words."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]

LEAST: dict[str, Body] = {
    "chat": {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "chat-model", "prompt": "Hi"},
    "edits": {"model": "chat-model", "instruction": "Shout."},
    "responses": {"model": "chat-model", "input": "Hi", "store": False},
    "embeddings": {"model": "org/embedder", "input": "Hi"},
    "rerank": {"model": "ranker", "query": "q", "documents": ["a", "b"]},
    "score": {"model": "ranker", "text_1": "q", "text_2": ["a", "b"]},
    "tokenize": {"model": "chat-model", "prompt": "Hi"},
    "detokenize": {"model": "chat-model", "tokens": [72]},
}
"""The least body of each endpoint."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A change to an endpoint's least body, and what it changes in the request that a worker gets.

    Objects are merged into what is there, everything else takes its place; None takes away.
    """

    endpoint: str
    rest: Body
    contract: Body | None
    """In ProtoJSON. None: REST refuses it by its name."""

    @property
    def body(self) -> Body:
        """The REST body."""
        return merged(LEAST[self.endpoint], self.rest)

    def names(self) -> set[str]:
        """The parameters that the change gives."""
        return {name for name, value in places(self.rest) if value is not None}


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Body:
    """``base`` with ``change``."""
    made = dict(base)
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict) and isinstance(made.get(name), dict):
            made[name] = merged(made[name], value)
        else:
            made[name] = value
    return made


def places(body: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every place in a body, as the table names it, with what is there."""
    for name, value in body.items():
        yield prefix + name, value
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from places(item, f"{prefix}{name}[].")


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": SCHEMA, "strict": True}
CONTRACT_TOOL = {
    "name": "look_up",
    "description": "Looks up.",
    "parametersJsonSchema": json.dumps(SCHEMA, separators=(",", ":")),
    "strict": True,
}
NUMBER = {
    "type": "custom",
    "name": "number",
    "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]+"},
}
ONE_TOOL = [{"type": "function", "function": TOOL}]

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "one"}]},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"a":1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "found"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"role": "assistant", "refusal": "Never."},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Well."}]},
            {"type": "text", "text": "So."},
        ],
    },
    {"role": "user", "content": "go on"},
]
CONTRACT_TURNS = [
    {"role": "ROLE_SYSTEM", "parts": [{"text": "Be brief."}]},
    {"role": "ROLE_USER", "name": "Ann", "parts": [{"text": "one"}]},
    {
        "role": "ROLE_ASSISTANT",
        "parts": [
            {"reasoning": "Hm."},
            {"toolCall": {"id": "c1", "name": "look_up", "arguments": '{"a":1}'}},
        ],
    },
    {"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "c1", "content": "found"}}]},
    {"role": "ROLE_ASSISTANT", "parts": [{"text": "No."}]},
    {"role": "ROLE_ASSISTANT", "parts": [{"text": "Never."}]},
    {"role": "ROLE_ASSISTANT", "parts": [{"reasoning": "Well."}, {"text": "So."}]},
    {"role": "ROLE_USER", "parts": [{"text": "go on"}]},
]
OLD_ID = "304fcacff"
"""What a call gets that has no identifier of its own."""
OLD_CALL = [
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "found"},
]

SYSTEM = {"role": "ROLE_SYSTEM", "parts": [{"text": "Be brief."}]}
HI = {"role": "ROLE_USER", "parts": [{"text": "Hi"}]}
ITEMS = [
    {"role": "user", "content": "one"},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
    {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a":1}'},
    {"type": "function_call_output", "call_id": "c1", "output": "found"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"type": "custom_tool_call", "call_id": "c2", "name": "raw", "input": "text"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "x"}]},
    {"role": "user", "content": [{"type": "input_text", "text": "go on"}]},
]
CONTRACT_ITEMS = [
    {"role": "ROLE_USER", "parts": [{"text": "one"}]},
    {
        "role": "ROLE_ASSISTANT",
        "parts": [
            {"reasoning": "Hm."},
            {"toolCall": {"id": "c1", "name": "look_up", "arguments": '{"a":1}'}},
        ],
    },
    {"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "c1", "content": "found"}}]},
    {"role": "ROLE_ASSISTANT", "parts": [{"text": "So."}]},
    {
        "role": "ROLE_ASSISTANT",
        "parts": [
            {"text": "No."},
            {"toolCall": {"id": "c2", "name": "raw", "arguments": "text", "custom": True}},
        ],
    },
    {"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "c2", "content": "x"}}]},
    {"role": "ROLE_USER", "parts": [{"text": "go on"}]},
]

CUSTOM = {
    "name": "raw",
    "description": "Raw.",
    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}},
}
TWO_TOOLS = [*ONE_TOOL, {"type": "custom", "custom": CUSTOM}]
CONTRACT_TWO_TOOLS = [
    CONTRACT_TOOL,
    {"name": "raw", "description": "Raw.", "custom": {"lark": 'start: "a"'}},
]
CUSTOM_TURNS = [
    {"role": "assistant", "content": "x", "reasoning": "Hm."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "raw", "input": "text"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "y"},
]
CONTRACT_CUSTOM_TURNS = [
    {"role": "ROLE_ASSISTANT", "parts": [{"reasoning": "Hm."}, {"text": "x"}]},
    {
        "role": "ROLE_ASSISTANT",
        "parts": [{"toolCall": {"id": "c", "name": "raw", "arguments": "text", "custom": True}}],
    },
    {"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "c", "content": "y"}}]},
]
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
CONTRACT_FUNCTION = {"name": "f", "description": "d", "parametersJsonSchema": '{"type":"object"}'}

EDIT = (
    "Do what the instruction says to the text below it. Answer with the changed text and nothing else.\n\n"
    "Instruction: Shout.\n\nText:\na"
)


def variable(**given: str) -> Body:
    """What a variable of the template is in the contract."""
    return {"chat": {"template": {"variables": given}}}


def of_chat(rest: Body, contract: Body) -> Sample:
    """A sample of chat as one of tokenising a conversation."""
    body = {"prompt": None, "messages": LEAST["chat"]["messages"], **rest}
    return Sample("tokenize", body, {"text": None, "chat": {"messages": [HI], **contract["chat"]}})


GENERATING: list[tuple[Body, Body]] = [
    ({"temperature": 0.25}, {"sampling": {"temperature": 0.25}}),
    ({"top_p": 0.5}, {"sampling": {"topP": 0.5}}),
    ({"top_k": 7}, {"sampling": {"topK": 7}}),
    ({"min_p": 0.125}, {"sampling": {"minP": 0.125}}),
    ({"presence_penalty": -1.5}, {"sampling": {"presencePenalty": -1.5}}),
    ({"frequency_penalty": 1.5}, {"sampling": {"frequencyPenalty": 1.5}}),
    ({"repetition_penalty": 1.25}, {"sampling": {"repetitionPenalty": 1.25}}),
    ({"logit_bias": {"5": -100}}, {"sampling": {"logitBias": {"5": -100}}}),
    ({"seed": 2**64 - 1}, {"sampling": {"seed": str(2**64 - 1)}}),
    ({"n": 2}, {"sampling": {"n": 2}}),
    ({"max_tokens": 5}, {"stopping": {"maxTokens": 5}}),
    ({"min_tokens": 2}, {"stopping": {"minTokens": 2}}),
    ({"stop": ["x", "y"]}, {"stopping": {"stop": ["x", "y"]}}),
    ({"stop_token_ids": [3, 4]}, {"stopping": {"stopTokenIds": [3, 4]}}),
    ({"ignore_eos": True}, {"stopping": {"ignoreEos": True}}),
    ({"include_stop_str_in_output": True}, {"stopping": {"includeStop": True}}),
    ({"prompt_logprobs": 2}, {"output": {"promptLogprobs": 2}}),
    ({"return_token_ids": True}, {"output": {"promptTokenIds": True}}),
    ({"skip_special_tokens": False}, {"output": {"skipSpecialTokens": False}}),
    ({"priority": 3}, {"priority": -3}),
    ({"cache_salt": "mine"}, {"cacheSalt": "mine"}),
    ({"allowed_token_ids": [5, 6]}, {"sampling": {"allowedTokenIds": [5, 6]}}),
    ({"bad_words": ["x"]}, {"sampling": {"badWords": ["x"]}}),
    ({"prompt_cache_key": "k"}, {"promptCacheKey": "k"}),
    ({"truncate_prompt_tokens": 7}, {"truncatePromptTokens": 7}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
        {"constraint": {"jsonSchema": json.dumps(SCHEMA, separators=(",", ":"))}},
    ),
    (
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"constraint": {"jsonSchema": json.dumps(SCHEMA, separators=(",", ":"))}},
    ),
    (
        {"structured_outputs": {"json": SCHEMA}},
        {"constraint": {"jsonSchema": json.dumps(SCHEMA, separators=(",", ":"))}},
    ),
    ({"structured_outputs": {"regex": "[ab]+"}}, {"constraint": {"regex": "[ab]+"}}),
    ({"structured_outputs": {"choice": ["a", "b"]}}, {"constraint": {"choice": {"texts": ["a", "b"]}}}),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, {"constraint": {"lark": 'start: "a"'}}),
    ({"structured_outputs": {"json_object": True}}, {"constraint": {"jsonObject": True}}),
    ({"guided_json": SCHEMA}, {"constraint": {"jsonSchema": json.dumps(SCHEMA, separators=(",", ":"))}}),
    ({"guided_regex": "[ab]+"}, {"constraint": {"regex": "[ab]+"}}),
    ({"guided_choice": ["a", "b"]}, {"constraint": {"choice": {"texts": ["a", "b"]}}}),
    ({"guided_grammar": 'start: "a"'}, {"constraint": {"lark": 'start: "a"'}}),
    ({"grammar": 'start: "a"'}, {"constraint": {"lark": 'start: "a"'}}),
    ({"regex": "[ab]+"}, {"constraint": {"regex": "[ab]+"}}),
]
"""Of chat and of text completions."""

CONVERSING: list[tuple[Body, Body]] = [
    ({"messages": TURNS}, {"chat": {"messages": CONTRACT_TURNS}}),
    (
        {"messages": OLD_CALL},
        {
            "chat": {
                "messages": [
                    {
                        "role": "ROLE_ASSISTANT",
                        "parts": [{"toolCall": {"id": OLD_ID, "name": "f", "arguments": "{}"}}],
                    },
                    {
                        "role": "ROLE_TOOL",
                        "name": "f",
                        "parts": [{"toolResult": {"toolCallId": OLD_ID, "content": "found"}}],
                    },
                ]
            },
        },
    ),
    ({"messages": CUSTOM_TURNS}, {"chat": {"messages": CONTRACT_CUSTOM_TURNS}}),
    ({"tools": ONE_TOOL}, {"chat": {"tools": [CONTRACT_TOOL]}}),
    ({"tools": TWO_TOOLS}, {"chat": {"tools": CONTRACT_TWO_TOOLS}}),
    (
        {"chat_template_kwargs": {"deep": [1, {"a": None}]}},
        {"chat": {"template": {"variables": {"deep": [1, {"a": None}]}}}},
    ),
    ({"add_generation_prompt": False}, {"chat": {"template": {"addGenerationPrompt": False}}}),
    (
        {"continue_final_message": True, "add_generation_prompt": False},
        {"chat": {"template": {"continueFinalMessage": True, "addGenerationPrompt": False}}},
    ),
]
"""Of chat and of tokenising one."""

RANKING: list[tuple[Body, Body]] = [
    ({"max_tokens_per_doc": 7}, {"maxDocumentTokens": 7}),
    ({"truncate_prompt_tokens": 40}, {"maxTokens": 40}),
    ({"truncate": True}, {"truncate": True}),
    ({"use_activation": False}, {"activation": False}),
    ({"activation": False}, {"activation": False}),
]
"""Of reranking and of scores."""

NAMES_OF_PAIRS = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("data_1", "data_2"),
    ("queries", "items"),
)

OWN: dict[str, list[tuple[Body, Body | None]]] = {
    "chat": [
        ({"model": "chat-model"}, {}),
        ({"max_completion_tokens": 5}, {"stopping": {"maxTokens": 5}}),
        ({"logprobs": True}, {"output": {"logprobs": True, "topLogprobs": 0}}),
        ({"logprobs": True, "top_logprobs": 2}, {"output": {"logprobs": True, "topLogprobs": 2}}),
        (
            {"tools": ONE_TOOL, "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
            {"chat": {"tools": [CONTRACT_TOOL], "toolChoice": {"functionName": "look_up"}}},
        ),
        (
            {"tools": TWO_TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "raw"}}},
            {"chat": {"tools": CONTRACT_TWO_TOOLS, "toolChoice": {"functionName": "raw"}}},
        ),
        (
            {
                "tools": TWO_TOOLS,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [
                            {"type": "function", "function": {"name": "look_up"}},
                            {"type": "custom", "custom": {"name": "raw"}},
                        ],
                    },
                },
            },
            {
                "chat": {
                    "tools": CONTRACT_TWO_TOOLS,
                    "toolChoice": {
                        "mode": "TOOL_CHOICE_MODE_REQUIRED",
                        "allowedNames": ["look_up", "raw"],
                    },
                }
            },
        ),
        (
            {"tools": ONE_TOOL, "tool_choice": "required", "parallel_tool_calls": False},
            {
                "chat": {
                    "tools": [CONTRACT_TOOL],
                    "toolChoice": {"mode": "TOOL_CHOICE_MODE_REQUIRED"},
                    "parallelToolCalls": False,
                }
            },
        ),
        (
            {"functions": [FUNCTION], "function_call": {"name": "f"}},
            {
                "chat": {
                    "tools": [CONTRACT_FUNCTION],
                    "toolChoice": {"functionName": "f"},
                    "parallelToolCalls": False,
                }
            },
        ),
        ({"reasoning_effort": "low"}, variable(reasoning_effort="low")),
        ({"prediction": {"type": "content", "content": "so"}}, {"prediction": "so"}),
        (
            {"prediction": {"type": "content", "content": [{"type": "text", "text": "so"}]}},
            {"prediction": "so"},
        ),
        ({"verbosity": "low"}, variable(verbosity="low")),
    ],
    "completions": [
        ({"model": "chat-model"}, {}),
        ({"prompt": "wörld 🌍"}, {"text": "wörld 🌍"}),
        ({"prompt": [5, 6]}, {"text": None, "tokenIds": {"ids": [5, 6]}}),
        ({"logprobs": 2}, {"output": {"logprobs": True, "topLogprobs": 2}}),
        ({"echo": True}, {"output": {"echo": True}}),
        ({"suffix": "end"}, {"suffix": "end"}),
        ({"max_completion_tokens": 5}, {"stopping": {"maxTokens": 5}}),
    ],
    "embeddings": [
        ({"model": "org/embedder"}, {}),
        ({"input": ["a", "b"]}, {"inputs": [{"text": "a"}, {"text": "b"}]}),
        ({"input": [5, 6]}, {"inputs": [{"tokenIds": {"ids": [5, 6]}}]}),
        ({"dimensions": 2}, {"dimensions": 2}),
        ({"normalize": False}, {"normalize": False}),
        ({"truncate": True}, {"truncate": True}),
        ({"truncate_prompt_tokens": -1}, {"truncate": True}),
    ],
    "rerank": [
        ({"model": "ranker"}, {}),
        ({"query": "other"}, {"query": "other"}),
        ({"documents": ["c", {"text": "d"}]}, {"documents": ["c", "d"]}),
        ({"top_n": 1}, {"topN": 1}),
    ],
    "score": [
        ({"model": "ranker"}, {}),
        *(
            (
                {"text_1": None, "text_2": None, one: ["q", "r"], two: ["c", "d"]},
                {"query": None, "queries": ["q", "r"], "documents": ["c", "d"]},
            )
            for one, two in NAMES_OF_PAIRS
        ),
    ],
    "tokenize": [
        ({"model": "chat-model"}, {}),
        ({"prompt": "wörld 🌍"}, {"text": "wörld 🌍"}),
        ({"add_special_tokens": False}, {"addSpecialTokens": False}),
    ],
    "detokenize": [
        ({"model": "chat-model"}, {}),
        ({"tokens": [72, 105]}, {"tokenIds": [72, 105]}),
        ({"skip_special_tokens": True}, {"skipSpecialTokens": True}),
    ],
    "edits": [
        ({"model": "chat-model"}, {}),
        (
            {"input": "a", "instruction": "Shout."},
            {"chat": {"messages": [{"role": "ROLE_USER", "parts": [{"text": EDIT}]}]}},
        ),
        ({"temperature": 0.25}, {"sampling": {"temperature": 0.25}}),
        ({"top_p": 0.5}, {"sampling": {"topP": 0.5}}),
        ({"n": 2}, {"sampling": {"n": 2}}),
    ],
    "responses": [
        ({"model": "chat-model"}, {}),
        ({"temperature": 0.25}, {"sampling": {"temperature": 0.25}}),
        ({"top_p": 0.5}, {"sampling": {"topP": 0.5}}),
        ({"max_output_tokens": 20}, {"stopping": {"maxTokens": 20}}),
        ({"instructions": "Be brief."}, {"chat": {"messages": [SYSTEM, HI]}}),
        (
            {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
            {"output": {"logprobs": True, "topLogprobs": 2}},
        ),
        ({"text": {"verbosity": "low"}}, variable(verbosity="low")),
        (
            {"reasoning": {"effort": "low"}},
            variable(reasoning_effort="low"),
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}},
            {"constraint": {"jsonSchema": json.dumps(SCHEMA, separators=(",", ":"))}},
        ),
        (
            {"tools": [{"type": "function", **TOOL}], "tool_choice": {"type": "function", "name": "look_up"}},
            {"chat": {"tools": [CONTRACT_TOOL], "toolChoice": {"functionName": "look_up"}}},
        ),
        ({"parallel_tool_calls": False}, {"chat": {"parallelToolCalls": False}}),
        (
            {"tools": [NUMBER], "tool_choice": {"type": "custom", "name": "number"}},
            {
                "chat": {
                    "tools": [{"name": "number", "custom": {"regex": "[0-9]+"}}],
                    "toolChoice": {"functionName": "number"},
                }
            },
        ),
        ({"prompt_cache_key": "k"}, {"promptCacheKey": "k"}),
        ({"input": ITEMS}, {"chat": {"messages": CONTRACT_ITEMS}}),
        (
            {
                "tools": [{"type": "function", **TOOL}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "look_up"}],
                },
            },
            {
                "chat": {
                    "tools": [CONTRACT_TOOL],
                    "toolChoice": {"mode": "TOOL_CHOICE_MODE_REQUIRED", "allowedNames": ["look_up"]},
                }
            },
        ),
    ],
}
"""Of one endpoint."""

SAMPLES = [
    *(Sample("chat", *each) for each in GENERATING + CONVERSING),
    *(Sample("completions", *each) for each in GENERATING),
    *(of_chat(*each) for each in CONVERSING),
    *(Sample(name, *each) for name in ("rerank", "score") for each in RANKING),
    *(Sample(name, *each) for name, those in OWN.items() for each in those),
]

ELSEWHERE = {
    ("responses", "input[].encrypted_content"): "tests/wire/test_responses.py: only the gateway can make one",
}
"""Parameters that a fixed body cannot say, and the test that says them."""
