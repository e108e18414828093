"""Every parameter of a request.

Made by tools/dev/protos.py of the contract's options and rest.textproto.
"""

from inferloom.parameter_table import ContractField, Honour, Meaning, Range, RestEndpoint, RestParameter

FIELDS: tuple[ContractField, ...] = (
    ContractField(request="GenerateRequest", path="model", type="string"),
    ContractField(request="GenerateRequest", path="request_id", type="string"),
    ContractField(request="GenerateRequest", path="chat.messages", type="repeated ChatMessage", min_items=1),
    ContractField(request="GenerateRequest", path="chat.messages[].role", type="Role"),
    ContractField(request="GenerateRequest", path="chat.messages[].parts[].text", type="string"),
    ContractField(request="GenerateRequest", path="chat.messages[].parts[].tool_call.id", type="string"),
    ContractField(request="GenerateRequest", path="chat.messages[].parts[].tool_call.name", type="string"),
    ContractField(
        request="GenerateRequest", path="chat.messages[].parts[].tool_call.arguments", type="string"
    ),
    ContractField(request="GenerateRequest", path="chat.messages[].parts[].tool_call.custom", type="bool"),
    ContractField(
        request="GenerateRequest", path="chat.messages[].parts[].tool_result.tool_call_id", type="string"
    ),
    ContractField(
        request="GenerateRequest", path="chat.messages[].parts[].tool_result.content", type="string"
    ),
    ContractField(request="GenerateRequest", path="chat.messages[].parts[].reasoning", type="string"),
    ContractField(request="GenerateRequest", path="chat.messages[].name", type="string"),
    ContractField(
        request="GenerateRequest", path="chat.tools", type="repeated Tool", honoured_by=Honour.CHATTING
    ),
    ContractField(request="GenerateRequest", path="chat.tools[].name", type="string"),
    ContractField(request="GenerateRequest", path="chat.tools[].description", type="string"),
    ContractField(request="GenerateRequest", path="chat.tools[].parameters_json_schema", type="string"),
    ContractField(request="GenerateRequest", path="chat.tools[].strict", type="bool"),
    ContractField(request="GenerateRequest", path="chat.tools[].custom.lark", type="string"),
    ContractField(request="GenerateRequest", path="chat.tools[].custom.regex", type="string"),
    ContractField(
        request="GenerateRequest", path="chat.tool_choice", type="ToolChoice", honoured_by=Honour.CHATTING
    ),
    ContractField(request="GenerateRequest", path="chat.tool_choice.mode", type="ToolChoiceMode"),
    ContractField(request="GenerateRequest", path="chat.tool_choice.function_name", type="string"),
    ContractField(request="GenerateRequest", path="chat.tool_choice.allowed_names", type="repeated string"),
    ContractField(
        request="GenerateRequest",
        path="chat.template.add_generation_prompt",
        type="bool",
        honoured_by=Honour.CHATTING,
    ),
    ContractField(
        request="GenerateRequest",
        path="chat.template.continue_final_message",
        type="bool",
        default=0,
        honoured_by=Honour.CHATTING,
    ),
    ContractField(
        request="GenerateRequest", path="chat.template.variables", type="Struct", honoured_by=Honour.CHATTING
    ),
    ContractField(
        request="GenerateRequest",
        path="chat.parallel_tool_calls",
        type="bool",
        default=1,
        honoured_by=Honour.CHATTING,
    ),
    ContractField(request="GenerateRequest", path="text", type="string"),
    ContractField(request="GenerateRequest", path="token_ids.ids", type="repeated uint32"),
    ContractField(
        request="GenerateRequest",
        path="sampling.temperature",
        type="float",
        range=Range(least=0, most=2),
        default=1,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.top_p",
        type="float",
        range=Range(least=0, most=1, above=True),
        default=1,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.top_k",
        type="uint32",
        range=Range(least=0, most=4294967295),
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.min_p",
        type="float",
        range=Range(least=0, most=1),
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.presence_penalty",
        type="float",
        range=Range(least=-2, most=2),
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.frequency_penalty",
        type="float",
        range=Range(least=-2, most=2),
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.repetition_penalty",
        type="float",
        range=Range(least=0.01, most=10),
        default=1,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.logit_bias",
        type="map<uint32, float>",
        range=Range(least=-100, most=100),
        max_items=1024,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest", path="sampling.seed", type="uint64", honoured_by=Honour.GENERATING
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.n",
        type="uint32",
        range=Range(least=1, most=128),
        default=1,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.allowed_token_ids",
        type="repeated uint32",
        range=Range(least=0, most=4294967295),
        max_items=131072,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="sampling.bad_words",
        type="repeated string",
        range=Range(least=1, most=256),
        unit="characters",
        max_items=1024,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="stopping.max_tokens",
        type="uint32",
        range=Range(least=0, most=4294967295),
        unit="tokens",
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="stopping.min_tokens",
        type="uint32",
        range=Range(least=0, most=4294967295),
        default=0,
        unit="tokens",
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="stopping.stop",
        type="repeated string",
        range=Range(least=1, most=1024),
        unit="characters",
        max_items=16,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="stopping.stop_token_ids",
        type="repeated uint32",
        range=Range(least=0, most=4294967295),
        max_items=64,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="stopping.ignore_eos",
        type="bool",
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="stopping.include_stop",
        type="bool",
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest", path="constraint", type="Constraint", honoured_by=Honour.CONSTRAINING
    ),
    ContractField(request="GenerateRequest", path="constraint.json_schema", type="string"),
    ContractField(request="GenerateRequest", path="constraint.json_object", type="bool"),
    ContractField(request="GenerateRequest", path="constraint.regex", type="string"),
    ContractField(request="GenerateRequest", path="constraint.choice.texts", type="repeated string"),
    ContractField(request="GenerateRequest", path="constraint.lark", type="string"),
    ContractField(
        request="GenerateRequest",
        path="output.logprobs",
        type="bool",
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="output.top_logprobs",
        type="uint32",
        range=Range(least=0, most=20),
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="output.prompt_logprobs",
        type="uint32",
        range=Range(least=0, most=20),
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest", path="output.echo", type="bool", default=0, honoured_by=Honour.GENERATING
    ),
    ContractField(
        request="GenerateRequest",
        path="output.skip_special_tokens",
        type="bool",
        default=1,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="output.prompt_token_ids",
        type="bool",
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="priority",
        type="sint32",
        range=Range(least=-100, most=100),
        default=0,
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="cache_salt",
        type="string",
        range=Range(least=0, most=128),
        unit="bytes",
        honoured_by=Honour.GENERATING,
    ),
    ContractField(request="GenerateRequest", path="resume", type="Resume", honoured_by=Honour.GENERATING),
    ContractField(
        request="GenerateRequest", path="resume.choices", type="repeated ResumedChoice", max_items=128
    ),
    ContractField(request="GenerateRequest", path="resume.choices[].choice", type="uint32"),
    ContractField(request="GenerateRequest", path="resume.choices[].token_ids", type="repeated uint32"),
    ContractField(request="GenerateRequest", path="resume.choices[].finished.choice", type="uint32"),
    ContractField(request="GenerateRequest", path="resume.choices[].finished.reason", type="FinishReason"),
    ContractField(request="GenerateRequest", path="resume.choices[].finished.stop_string", type="string"),
    ContractField(request="GenerateRequest", path="resume.choices[].finished.stop_token_id", type="uint32"),
    ContractField(
        request="GenerateRequest", path="resume.choices[].finished.completion_tokens", type="uint32"
    ),
    ContractField(request="GenerateRequest", path="resume.prompt_token_ids", type="repeated uint32"),
    ContractField(request="GenerateRequest", path="suffix", type="string", honoured_by=Honour.INFILLING),
    ContractField(
        request="GenerateRequest",
        path="truncate_prompt_tokens",
        type="uint32",
        range=Range(least=0, most=4294967295),
        unit="tokens",
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="prediction",
        type="string",
        range=Range(least=0, most=1048576),
        unit="characters",
        honoured_by=Honour.GENERATING,
    ),
    ContractField(
        request="GenerateRequest",
        path="prompt_cache_key",
        type="string",
        range=Range(least=0, most=512),
        unit="bytes",
    ),
    ContractField(request="EmbedRequest", path="model", type="string"),
    ContractField(request="EmbedRequest", path="request_id", type="string"),
    ContractField(
        request="EmbedRequest", path="inputs", type="repeated EmbedInput", min_items=1, max_items=2048
    ),
    ContractField(
        request="EmbedRequest", path="inputs[].text", type="string", range=Range(least=1), unit="characters"
    ),
    ContractField(request="EmbedRequest", path="inputs[].token_ids.ids", type="repeated uint32"),
    ContractField(
        request="EmbedRequest",
        path="dimensions",
        type="uint32",
        range=Range(least=1, most=4294967295),
        honoured_by=Honour.SHORTENING,
    ),
    ContractField(request="EmbedRequest", path="normalize", type="bool", honoured_by=Honour.EMBEDDING),
    ContractField(
        request="EmbedRequest", path="truncate", type="bool", default=0, honoured_by=Honour.EMBEDDING
    ),
    ContractField(request="RerankRequest", path="model", type="string"),
    ContractField(request="RerankRequest", path="request_id", type="string"),
    ContractField(request="RerankRequest", path="query", type="string"),
    ContractField(
        request="RerankRequest", path="documents", type="repeated string", min_items=1, max_items=1024
    ),
    ContractField(
        request="RerankRequest", path="top_n", type="uint32", range=Range(least=1, most=4294967295)
    ),
    ContractField(request="RerankRequest", path="queries", type="repeated string", max_items=1024),
    ContractField(
        request="RerankRequest",
        path="max_document_tokens",
        type="uint32",
        range=Range(least=1, most=4294967295),
        unit="tokens",
    ),
    ContractField(request="RerankRequest", path="truncate", type="bool", default=0),
    ContractField(
        request="RerankRequest",
        path="max_tokens",
        type="uint32",
        range=Range(least=1, most=4294967295),
        unit="tokens",
    ),
    ContractField(request="RerankRequest", path="activation", type="bool", default=1),
    ContractField(request="TokenizeRequest", path="model", type="string"),
    ContractField(request="TokenizeRequest", path="text", type="string"),
    ContractField(request="TokenizeRequest", path="chat.messages", type="repeated ChatMessage", min_items=1),
    ContractField(request="TokenizeRequest", path="chat.messages[].role", type="Role"),
    ContractField(request="TokenizeRequest", path="chat.messages[].parts[].text", type="string"),
    ContractField(request="TokenizeRequest", path="chat.messages[].parts[].tool_call.id", type="string"),
    ContractField(request="TokenizeRequest", path="chat.messages[].parts[].tool_call.name", type="string"),
    ContractField(
        request="TokenizeRequest", path="chat.messages[].parts[].tool_call.arguments", type="string"
    ),
    ContractField(request="TokenizeRequest", path="chat.messages[].parts[].tool_call.custom", type="bool"),
    ContractField(
        request="TokenizeRequest", path="chat.messages[].parts[].tool_result.tool_call_id", type="string"
    ),
    ContractField(
        request="TokenizeRequest", path="chat.messages[].parts[].tool_result.content", type="string"
    ),
    ContractField(request="TokenizeRequest", path="chat.messages[].parts[].reasoning", type="string"),
    ContractField(request="TokenizeRequest", path="chat.messages[].name", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tools", type="repeated Tool"),
    ContractField(request="TokenizeRequest", path="chat.tools[].name", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tools[].description", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tools[].parameters_json_schema", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tools[].strict", type="bool"),
    ContractField(request="TokenizeRequest", path="chat.tools[].custom.lark", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tools[].custom.regex", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tool_choice", type="ToolChoice"),
    ContractField(request="TokenizeRequest", path="chat.tool_choice.mode", type="ToolChoiceMode"),
    ContractField(request="TokenizeRequest", path="chat.tool_choice.function_name", type="string"),
    ContractField(request="TokenizeRequest", path="chat.tool_choice.allowed_names", type="repeated string"),
    ContractField(request="TokenizeRequest", path="chat.template.add_generation_prompt", type="bool"),
    ContractField(
        request="TokenizeRequest", path="chat.template.continue_final_message", type="bool", default=0
    ),
    ContractField(request="TokenizeRequest", path="chat.template.variables", type="Struct"),
    ContractField(request="TokenizeRequest", path="chat.parallel_tool_calls", type="bool", default=1),
    ContractField(request="TokenizeRequest", path="add_special_tokens", type="bool"),
    ContractField(request="DetokenizeRequest", path="model", type="string"),
    ContractField(request="DetokenizeRequest", path="token_ids", type="repeated uint32"),
    ContractField(request="DetokenizeRequest", path="skip_special_tokens", type="bool"),
)
"""The fields of the contract's requests."""

ENDPOINTS: tuple[RestEndpoint, ...] = (
    RestEndpoint(
        "chat",
        "/v1/chat/completions",
        "GenerateRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "messages": RestParameter(
                name="messages",
                meaning=Meaning.FIELD,
                field="chat.messages",
                shape="array",
                min_items=1,
                required=True,
                note="/tokenize: this or prompt",
            ),
            "messages[].role": RestParameter(
                name="messages[].role",
                meaning=Meaning.FIELD,
                field="chat.messages[].role",
                shape="string",
                required=True,
            ),
            "messages[].content": RestParameter(
                name="messages[].content",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string|array",
            ),
            "messages[].content[].type": RestParameter(
                name="messages[].content[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the kind of part",
            ),
            "messages[].content[].text": RestParameter(
                name="messages[].content[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "messages[].content[].refusal": RestParameter(
                name="messages[].content[].refusal",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "messages[].refusal": RestParameter(
                name="messages[].refusal",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "messages[].content[].prompt_cache_breakpoint": RestParameter(
                name="messages[].content[].prompt_cache_breakpoint", meaning=Meaning.HINT, shape="object"
            ),
            "messages[].parsed": RestParameter(
                name="messages[].parsed", meaning=Meaning.HINT, shape="object"
            ),
            "messages[].name": RestParameter(
                name="messages[].name", meaning=Meaning.FIELD, field="chat.messages[].name", shape="string"
            ),
            "messages[].reasoning_content": RestParameter(
                name="messages[].reasoning_content",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
            ),
            "messages[].reasoning": RestParameter(
                name="messages[].reasoning",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
                alias_of="messages[].reasoning_content",
            ),
            "messages[].content[].thinking": RestParameter(
                name="messages[].content[].thinking",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string|array",
            ),
            "messages[].content[].thinking[].type": RestParameter(
                name="messages[].content[].thinking[].type",
                meaning=Meaning.OWN,
                shape="string",
                note="always text",
            ),
            "messages[].content[].thinking[].text": RestParameter(
                name="messages[].content[].thinking[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls": RestParameter(
                name="messages[].tool_calls",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call",
                shape="array",
            ),
            "messages[].tool_calls[].id": RestParameter(
                name="messages[].tool_calls[].id",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.id",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].type": RestParameter(
                name="messages[].tool_calls[].type",
                meaning=Meaning.OWN,
                shape="string",
                note="function or custom",
            ),
            "messages[].tool_calls[].index": RestParameter(
                name="messages[].tool_calls[].index", meaning=Meaning.HINT, shape="integer"
            ),
            "messages[].tool_calls[].function": RestParameter(
                name="messages[].tool_calls[].function",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call",
                shape="object",
            ),
            "messages[].tool_calls[].function.name": RestParameter(
                name="messages[].tool_calls[].function.name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].function.arguments": RestParameter(
                name="messages[].tool_calls[].function.arguments",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].function.parsed_arguments": RestParameter(
                name="messages[].tool_calls[].function.parsed_arguments", meaning=Meaning.HINT, shape="object"
            ),
            "messages[].tool_calls[].custom": RestParameter(
                name="messages[].tool_calls[].custom",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.custom",
                shape="object",
            ),
            "messages[].tool_calls[].custom.name": RestParameter(
                name="messages[].tool_calls[].custom.name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].custom.input": RestParameter(
                name="messages[].tool_calls[].custom.input",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
                required=True,
            ),
            "messages[].function_call": RestParameter(
                name="messages[].function_call",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call",
                shape="object",
            ),
            "messages[].function_call.name": RestParameter(
                name="messages[].function_call.name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
                required=True,
            ),
            "messages[].function_call.arguments": RestParameter(
                name="messages[].function_call.arguments",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
                required=True,
            ),
            "messages[].tool_call_id": RestParameter(
                name="messages[].tool_call_id",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_result.tool_call_id",
                shape="string",
            ),
            "messages[].annotations": RestParameter(
                name="messages[].annotations", meaning=Meaning.HINT, shape="array"
            ),
            "messages[].audio": RestParameter(
                name="messages[].audio", meaning=Meaning.REFUSED, shape="object"
            ),
            "truncate_prompt_tokens": RestParameter(
                name="truncate_prompt_tokens",
                meaning=Meaning.FIELD,
                field="truncate_prompt_tokens",
                shape="integer",
                range=Range(least=-1, most=4294967295),
                note="keeps the last tokens; -1: as many as fit beside the completion",
            ),
            "prediction": RestParameter(
                name="prediction",
                meaning=Meaning.FIELD,
                field="prediction",
                shape="object",
                note="drafted from; changes no answer; usage counts the engine's own drafts with it",
            ),
            "prediction.type": RestParameter(
                name="prediction.type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="always content",
            ),
            "prediction.content": RestParameter(
                name="prediction.content",
                meaning=Meaning.FIELD,
                field="prediction",
                shape="string|array",
                range=Range(least=0, most=1048576),
                required=True,
            ),
            "prediction.content[].type": RestParameter(
                name="prediction.content[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="always text",
            ),
            "prediction.content[].text": RestParameter(
                name="prediction.content[].text",
                meaning=Meaning.FIELD,
                field="prediction",
                shape="string",
                range=Range(least=0, most=1048576),
                required=True,
            ),
            "temperature": RestParameter(
                name="temperature",
                meaning=Meaning.FIELD,
                field="sampling.temperature",
                shape="number",
                range=Range(least=0, most=2),
                default=1,
                note="default: the model's, else 1",
            ),
            "top_p": RestParameter(
                name="top_p",
                meaning=Meaning.FIELD,
                field="sampling.top_p",
                shape="number",
                range=Range(least=0, most=1),
                default=1,
                note="0: the likeliest token; default: the model's, else 1",
            ),
            "top_k": RestParameter(
                name="top_k",
                meaning=Meaning.FIELD,
                field="sampling.top_k",
                shape="integer",
                range=Range(least=-1, most=4294967295),
                default=0,
                note="0 and -1: all; default: the model's, else all",
            ),
            "min_p": RestParameter(
                name="min_p",
                meaning=Meaning.FIELD,
                field="sampling.min_p",
                shape="number",
                range=Range(least=0, most=1),
                default=0,
                note="default: the model's, else 0",
            ),
            "presence_penalty": RestParameter(
                name="presence_penalty",
                meaning=Meaning.FIELD,
                field="sampling.presence_penalty",
                shape="number",
                range=Range(least=-2, most=2),
                default=0,
            ),
            "frequency_penalty": RestParameter(
                name="frequency_penalty",
                meaning=Meaning.FIELD,
                field="sampling.frequency_penalty",
                shape="number",
                range=Range(least=-2, most=2),
                default=0,
            ),
            "repetition_penalty": RestParameter(
                name="repetition_penalty",
                meaning=Meaning.FIELD,
                field="sampling.repetition_penalty",
                shape="number",
                range=Range(least=0.01, most=10),
                default=1,
                note="default: the model's, else 1",
            ),
            "logit_bias": RestParameter(
                name="logit_bias",
                meaning=Meaning.FIELD,
                field="sampling.logit_bias",
                shape="object",
                range=Range(least=-100, most=100),
                max_items=1024,
                note="token ids to numbers",
            ),
            "seed": RestParameter(
                name="seed",
                meaning=Meaning.FIELD,
                field="sampling.seed",
                shape="integer",
                range=Range(least=-9223372036854775808, most=18446744073709551615),
            ),
            "n": RestParameter(
                name="n",
                meaning=Meaning.FIELD,
                field="sampling.n",
                shape="integer",
                range=Range(least=1, most=128),
                default=1,
            ),
            "allowed_token_ids": RestParameter(
                name="allowed_token_ids",
                meaning=Meaning.FIELD,
                field="sampling.allowed_token_ids",
                shape="array",
                range=Range(least=0, most=4294967295),
                max_items=131072,
            ),
            "bad_words": RestParameter(
                name="bad_words",
                meaning=Meaning.FIELD,
                field="sampling.bad_words",
                shape="array",
                range=Range(least=1, most=256),
                max_items=1024,
            ),
            "max_completion_tokens": RestParameter(
                name="max_completion_tokens",
                meaning=Meaning.FIELD,
                field="stopping.max_tokens",
                shape="integer",
                range=Range(least=1, most=4294967295),
            ),
            "max_tokens": RestParameter(
                name="max_tokens",
                meaning=Meaning.FIELD,
                field="stopping.max_tokens",
                shape="integer",
                range=Range(least=1, most=4294967295),
                alias_of="max_completion_tokens",
            ),
            "min_tokens": RestParameter(
                name="min_tokens",
                meaning=Meaning.FIELD,
                field="stopping.min_tokens",
                shape="integer",
                range=Range(least=0, most=4294967295),
                default=0,
            ),
            "stop": RestParameter(
                name="stop",
                meaning=Meaning.FIELD,
                field="stopping.stop",
                shape="string|array",
                range=Range(least=1, most=1024),
                max_items=16,
            ),
            "stop_token_ids": RestParameter(
                name="stop_token_ids",
                meaning=Meaning.FIELD,
                field="stopping.stop_token_ids",
                shape="array",
                range=Range(least=0, most=4294967295),
                max_items=64,
            ),
            "ignore_eos": RestParameter(
                name="ignore_eos",
                meaning=Meaning.FIELD,
                field="stopping.ignore_eos",
                shape="boolean",
                default=0,
            ),
            "include_stop_str_in_output": RestParameter(
                name="include_stop_str_in_output",
                meaning=Meaning.FIELD,
                field="stopping.include_stop",
                shape="boolean",
                default=0,
            ),
            "logprobs": RestParameter(
                name="logprobs", meaning=Meaning.FIELD, field="output.logprobs", shape="boolean", default=0
            ),
            "top_logprobs": RestParameter(
                name="top_logprobs",
                meaning=Meaning.FIELD,
                field="output.top_logprobs",
                shape="integer",
                range=Range(least=0, most=20),
                default=0,
                note="needs logprobs",
            ),
            "prompt_logprobs": RestParameter(
                name="prompt_logprobs",
                meaning=Meaning.FIELD,
                field="output.prompt_logprobs",
                shape="integer",
                range=Range(least=0, most=20),
                note="not with stream",
            ),
            "return_token_ids": RestParameter(
                name="return_token_ids",
                meaning=Meaning.FIELD,
                field="output.prompt_token_ids",
                shape="boolean",
                default=0,
                note="the completion's token ids, too",
            ),
            "return_tokens_as_token_ids": RestParameter(
                name="return_tokens_as_token_ids",
                meaning=Meaning.OWN,
                shape="boolean",
                note="log-probabilities name tokens token_id:5",
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens",
                meaning=Meaning.FIELD,
                field="output.skip_special_tokens",
                shape="boolean",
                default=1,
            ),
            "stream": RestParameter(
                name="stream", meaning=Meaning.OWN, shape="boolean", note="server-sent events"
            ),
            "stream_options": RestParameter(
                name="stream_options",
                meaning=Meaning.OWN,
                shape="object",
                note="what a stream carries besides",
            ),
            "stream_options.include_usage": RestParameter(
                name="stream_options.include_usage",
                meaning=Meaning.OWN,
                shape="boolean",
                note="a last chunk with usage",
            ),
            "stream_options.continuous_usage_stats": RestParameter(
                name="stream_options.continuous_usage_stats",
                meaning=Meaning.OWN,
                shape="boolean",
                note="with include_usage: what was used so far in each chunk",
            ),
            "stream_options.include_obfuscation": RestParameter(
                name="stream_options.include_obfuscation", meaning=Meaning.HINT, shape="boolean"
            ),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.FIELD, field="constraint", shape="object"
            ),
            "response_format.type": RestParameter(
                name="response_format.type",
                meaning=Meaning.FIELD,
                field="constraint",
                shape="string",
                required=True,
                note="text, json_object or json_schema",
            ),
            "response_format.json_schema": RestParameter(
                name="response_format.json_schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
            ),
            "response_format.json_schema.name": RestParameter(
                name="response_format.json_schema.name",
                meaning=Meaning.OWN,
                shape="string",
                note="a name for people",
            ),
            "response_format.json_schema.description": RestParameter(
                name="response_format.json_schema.description", meaning=Meaning.HINT, shape="string"
            ),
            "response_format.json_schema.schema": RestParameter(
                name="response_format.json_schema.schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
                required=True,
            ),
            "response_format.json_schema.strict": RestParameter(
                name="response_format.json_schema.strict",
                meaning=Meaning.OWN,
                shape="boolean",
                note="always strict",
            ),
            "response_format.schema": RestParameter(
                name="response_format.schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
                note="in the place of json_schema, also with json_object, as llama.cpp's server takes it",
            ),
            "structured_outputs": RestParameter(
                name="structured_outputs",
                meaning=Meaning.FIELD,
                field="constraint",
                shape="object",
                note="one of the five below",
            ),
            "structured_outputs.json": RestParameter(
                name="structured_outputs.json",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="string|object",
            ),
            "structured_outputs.regex": RestParameter(
                name="structured_outputs.regex",
                meaning=Meaning.FIELD,
                field="constraint.regex",
                shape="string",
            ),
            "structured_outputs.choice": RestParameter(
                name="structured_outputs.choice",
                meaning=Meaning.FIELD,
                field="constraint.choice",
                shape="array",
                min_items=1,
                max_items=1024,
            ),
            "structured_outputs.grammar": RestParameter(
                name="structured_outputs.grammar",
                meaning=Meaning.FIELD,
                field="constraint.lark",
                shape="string",
                note="Lark, or llama.cpp's GBNF",
            ),
            "structured_outputs.json_object": RestParameter(
                name="structured_outputs.json_object",
                meaning=Meaning.FIELD,
                field="constraint.json_object",
                shape="boolean",
            ),
            "structured_outputs.disable_any_whitespace": RestParameter(
                name="structured_outputs.disable_any_whitespace", meaning=Meaning.HINT, shape="boolean"
            ),
            "structured_outputs.disable_fallback": RestParameter(
                name="structured_outputs.disable_fallback", meaning=Meaning.HINT, shape="boolean"
            ),
            "structured_outputs.disable_additional_properties": RestParameter(
                name="structured_outputs.disable_additional_properties",
                meaning=Meaning.REFUSED,
                nothing=(False,),
            ),
            "structured_outputs.structural_tag": RestParameter(
                name="structured_outputs.structural_tag", meaning=Meaning.REFUSED
            ),
            "structured_outputs.whitespace_pattern": RestParameter(
                name="structured_outputs.whitespace_pattern", meaning=Meaning.REFUSED
            ),
            "guided_json": RestParameter(
                name="guided_json",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="string|object",
            ),
            "guided_regex": RestParameter(
                name="guided_regex", meaning=Meaning.FIELD, field="constraint.regex", shape="string"
            ),
            "guided_choice": RestParameter(
                name="guided_choice",
                meaning=Meaning.FIELD,
                field="constraint.choice",
                shape="array",
                min_items=1,
                max_items=1024,
            ),
            "guided_grammar": RestParameter(
                name="guided_grammar",
                meaning=Meaning.FIELD,
                field="constraint.lark",
                shape="string",
                note="Lark, or llama.cpp's GBNF",
            ),
            "grammar": RestParameter(
                name="grammar",
                meaning=Meaning.FIELD,
                field="constraint.lark",
                shape="string",
                note="as guided_grammar",
            ),
            "regex": RestParameter(
                name="regex",
                meaning=Meaning.FIELD,
                field="constraint.regex",
                shape="string",
                note="as guided_regex",
            ),
            "priority": RestParameter(
                name="priority",
                meaning=Meaning.FIELD,
                field="priority",
                shape="integer",
                range=Range(least=-100, most=100),
                default=0,
                note="lower is earlier, as in vLLM; the contract's priority is the opposite number",
            ),
            "service_tier": RestParameter(
                name="service_tier",
                meaning=Meaning.OWN,
                shape="string",
                note="flex waits for others; priority goes first where allowed; chats' answers tell",
            ),
            "prompt_cache_key": RestParameter(
                name="prompt_cache_key",
                meaning=Meaning.FIELD,
                field="prompt_cache_key",
                shape="string",
                range=Range(least=0, most=512),
                note="requests with one key go to one worker where load allows it",
            ),
            "cache_salt": RestParameter(
                name="cache_salt",
                meaning=Meaning.FIELD,
                field="cache_salt",
                shape="string",
                range=Range(least=0, most=128),
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.FIELD, field="chat.tools", shape="array"),
            "tools[].type": RestParameter(
                name="tools[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="function or custom",
            ),
            "tools[].function": RestParameter(
                name="tools[].function", meaning=Meaning.FIELD, field="chat.tools[]", shape="object"
            ),
            "tools[].function.name": RestParameter(
                name="tools[].function.name",
                meaning=Meaning.FIELD,
                field="chat.tools[].name",
                shape="string",
                required=True,
            ),
            "tools[].function.description": RestParameter(
                name="tools[].function.description",
                meaning=Meaning.FIELD,
                field="chat.tools[].description",
                shape="string",
            ),
            "tools[].function.parameters": RestParameter(
                name="tools[].function.parameters",
                meaning=Meaning.FIELD,
                field="chat.tools[].parameters_json_schema",
                shape="object",
            ),
            "tools[].function.strict": RestParameter(
                name="tools[].function.strict",
                meaning=Meaning.FIELD,
                field="chat.tools[].strict",
                shape="boolean",
            ),
            "tools[].custom": RestParameter(
                name="tools[].custom", meaning=Meaning.FIELD, field="chat.tools[].custom", shape="object"
            ),
            "tools[].custom.name": RestParameter(
                name="tools[].custom.name",
                meaning=Meaning.FIELD,
                field="chat.tools[].name",
                shape="string",
                required=True,
            ),
            "tools[].custom.description": RestParameter(
                name="tools[].custom.description",
                meaning=Meaning.FIELD,
                field="chat.tools[].description",
                shape="string",
            ),
            "tools[].custom.format": RestParameter(
                name="tools[].custom.format",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="object",
            ),
            "tools[].custom.format.type": RestParameter(
                name="tools[].custom.format.type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="text or grammar",
            ),
            "tools[].custom.format.grammar": RestParameter(
                name="tools[].custom.format.grammar",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="object",
            ),
            "tools[].custom.format.grammar.syntax": RestParameter(
                name="tools[].custom.format.grammar.syntax",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="lark or regex",
            ),
            "tools[].custom.format.grammar.definition": RestParameter(
                name="tools[].custom.format.grammar.definition",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="string",
                required=True,
            ),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls",
                meaning=Meaning.FIELD,
                field="chat.parallel_tool_calls",
                shape="boolean",
                default=1,
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.FIELD, field="chat.tool_choice", shape="string|object"
            ),
            "tool_choice.type": RestParameter(
                name="tool_choice.type",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.mode",
                shape="string",
                required=True,
            ),
            "tool_choice.function": RestParameter(
                name="tool_choice.function", meaning=Meaning.FIELD, field="chat.tool_choice", shape="object"
            ),
            "tool_choice.function.name": RestParameter(
                name="tool_choice.function.name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.function_name",
                shape="string",
                required=True,
            ),
            "tool_choice.custom": RestParameter(
                name="tool_choice.custom", meaning=Meaning.FIELD, field="chat.tool_choice", shape="object"
            ),
            "tool_choice.custom.name": RestParameter(
                name="tool_choice.custom.name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.function_name",
                shape="string",
                required=True,
            ),
            "tool_choice.allowed_tools": RestParameter(
                name="tool_choice.allowed_tools",
                meaning=Meaning.FIELD,
                field="chat.tool_choice",
                shape="object",
            ),
            "tool_choice.allowed_tools.mode": RestParameter(
                name="tool_choice.allowed_tools.mode",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.mode",
                shape="string",
                required=True,
            ),
            "tool_choice.allowed_tools.tools": RestParameter(
                name="tool_choice.allowed_tools.tools",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="array",
                required=True,
            ),
            "tool_choice.allowed_tools.tools[].type": RestParameter(
                name="tool_choice.allowed_tools.tools[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="function or custom",
            ),
            "tool_choice.allowed_tools.tools[].function": RestParameter(
                name="tool_choice.allowed_tools.tools[].function",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="object",
            ),
            "tool_choice.allowed_tools.tools[].function.name": RestParameter(
                name="tool_choice.allowed_tools.tools[].function.name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="string",
                required=True,
            ),
            "tool_choice.allowed_tools.tools[].custom": RestParameter(
                name="tool_choice.allowed_tools.tools[].custom",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="object",
            ),
            "tool_choice.allowed_tools.tools[].custom.name": RestParameter(
                name="tool_choice.allowed_tools.tools[].custom.name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="string",
                required=True,
            ),
            "functions": RestParameter(
                name="functions",
                meaning=Meaning.FIELD,
                field="chat.tools",
                shape="array",
                note="what tools were once",
            ),
            "functions[].name": RestParameter(
                name="functions[].name",
                meaning=Meaning.FIELD,
                field="chat.tools[].name",
                shape="string",
                required=True,
            ),
            "functions[].description": RestParameter(
                name="functions[].description",
                meaning=Meaning.FIELD,
                field="chat.tools[].description",
                shape="string",
            ),
            "functions[].parameters": RestParameter(
                name="functions[].parameters",
                meaning=Meaning.FIELD,
                field="chat.tools[].parameters_json_schema",
                shape="object",
            ),
            "function_call": RestParameter(
                name="function_call",
                meaning=Meaning.FIELD,
                field="chat.tool_choice",
                shape="string|object",
                note="what tool_choice was once",
            ),
            "function_call.name": RestParameter(
                name="function_call.name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.function_name",
                shape="string",
                required=True,
            ),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs",
                meaning=Meaning.FIELD,
                field="chat.template.variables",
                shape="object",
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort",
                meaning=Meaning.FIELD,
                field="chat.template.variables.reasoning_effort",
                shape="string",
                note="a template's variable; refused where that is known not to read it, unless it is none",
            ),
            "verbosity": RestParameter(
                name="verbosity",
                meaning=Meaning.FIELD,
                field="chat.template.variables.verbosity",
                shape="string",
                note="a variable of the chat template; without effect where it reads none",
            ),
            "add_generation_prompt": RestParameter(
                name="add_generation_prompt",
                meaning=Meaning.FIELD,
                field="chat.template.add_generation_prompt",
                shape="boolean",
            ),
            "continue_final_message": RestParameter(
                name="continue_final_message",
                meaning=Meaning.FIELD,
                field="chat.template.continue_final_message",
                shape="boolean",
                default=0,
            ),
            "store": RestParameter(
                name="store",
                meaning=Meaning.OWN,
                shape="boolean",
                note="keep the answer, for /v1/chat/completions/{completion_id}",
            ),
            "metadata": RestParameter(
                name="metadata",
                meaning=Meaning.OWN,
                shape="object",
                range=Range(least=0, most=512),
                max_items=16,
                note="what its owner writes on what is stored",
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "completions",
        "/v1/completions",
        "GenerateRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "prompt": RestParameter(
                name="prompt",
                meaning=Meaning.FIELD,
                field="text",
                shape="string|array",
                min_items=1,
                max_items=128,
                note="text, tokens, or a list of either; absent or empty: a new document",
            ),
            "suffix": RestParameter(
                name="suffix",
                meaning=Meaning.FIELD,
                field="suffix",
                shape="string",
                note="text after the completion; needs text, and a model that can fill in the middle",
            ),
            "truncate_prompt_tokens": RestParameter(
                name="truncate_prompt_tokens",
                meaning=Meaning.FIELD,
                field="truncate_prompt_tokens",
                shape="integer",
                range=Range(least=-1, most=4294967295),
                note="keeps the last tokens; -1: as many as fit beside the completion",
            ),
            "temperature": RestParameter(
                name="temperature",
                meaning=Meaning.FIELD,
                field="sampling.temperature",
                shape="number",
                range=Range(least=0, most=2),
                default=1,
                note="default: the model's, else 1",
            ),
            "top_p": RestParameter(
                name="top_p",
                meaning=Meaning.FIELD,
                field="sampling.top_p",
                shape="number",
                range=Range(least=0, most=1),
                default=1,
                note="0: the likeliest token; default: the model's, else 1",
            ),
            "top_k": RestParameter(
                name="top_k",
                meaning=Meaning.FIELD,
                field="sampling.top_k",
                shape="integer",
                range=Range(least=-1, most=4294967295),
                default=0,
                note="0 and -1: all; default: the model's, else all",
            ),
            "min_p": RestParameter(
                name="min_p",
                meaning=Meaning.FIELD,
                field="sampling.min_p",
                shape="number",
                range=Range(least=0, most=1),
                default=0,
                note="default: the model's, else 0",
            ),
            "presence_penalty": RestParameter(
                name="presence_penalty",
                meaning=Meaning.FIELD,
                field="sampling.presence_penalty",
                shape="number",
                range=Range(least=-2, most=2),
                default=0,
            ),
            "frequency_penalty": RestParameter(
                name="frequency_penalty",
                meaning=Meaning.FIELD,
                field="sampling.frequency_penalty",
                shape="number",
                range=Range(least=-2, most=2),
                default=0,
            ),
            "repetition_penalty": RestParameter(
                name="repetition_penalty",
                meaning=Meaning.FIELD,
                field="sampling.repetition_penalty",
                shape="number",
                range=Range(least=0.01, most=10),
                default=1,
                note="default: the model's, else 1",
            ),
            "logit_bias": RestParameter(
                name="logit_bias",
                meaning=Meaning.FIELD,
                field="sampling.logit_bias",
                shape="object",
                range=Range(least=-100, most=100),
                max_items=1024,
                note="token ids to numbers",
            ),
            "seed": RestParameter(
                name="seed",
                meaning=Meaning.FIELD,
                field="sampling.seed",
                shape="integer",
                range=Range(least=-9223372036854775808, most=18446744073709551615),
            ),
            "best_of": RestParameter(
                name="best_of",
                meaning=Meaning.OWN,
                shape="integer",
                range=Range(least=1, most=128),
                note="so many are drawn, and the n likeliest per token shown; not with stream",
            ),
            "n": RestParameter(
                name="n",
                meaning=Meaning.FIELD,
                field="sampling.n",
                shape="integer",
                range=Range(least=1, most=128),
                default=1,
            ),
            "allowed_token_ids": RestParameter(
                name="allowed_token_ids",
                meaning=Meaning.FIELD,
                field="sampling.allowed_token_ids",
                shape="array",
                range=Range(least=0, most=4294967295),
                max_items=131072,
            ),
            "bad_words": RestParameter(
                name="bad_words",
                meaning=Meaning.FIELD,
                field="sampling.bad_words",
                shape="array",
                range=Range(least=1, most=256),
                max_items=1024,
            ),
            "max_tokens": RestParameter(
                name="max_tokens",
                meaning=Meaning.FIELD,
                field="stopping.max_tokens",
                shape="integer",
                range=Range(least=0, most=4294967295),
                default=16,
                note="0: nothing, or with echo the prompt",
            ),
            "max_completion_tokens": RestParameter(
                name="max_completion_tokens",
                meaning=Meaning.FIELD,
                field="stopping.max_tokens",
                shape="integer",
                range=Range(least=0, most=4294967295),
                default=16,
                alias_of="max_tokens",
                note="0: nothing, or with echo the prompt",
            ),
            "min_tokens": RestParameter(
                name="min_tokens",
                meaning=Meaning.FIELD,
                field="stopping.min_tokens",
                shape="integer",
                range=Range(least=0, most=4294967295),
                default=0,
            ),
            "stop": RestParameter(
                name="stop",
                meaning=Meaning.FIELD,
                field="stopping.stop",
                shape="string|array",
                range=Range(least=1, most=1024),
                max_items=16,
            ),
            "stop_token_ids": RestParameter(
                name="stop_token_ids",
                meaning=Meaning.FIELD,
                field="stopping.stop_token_ids",
                shape="array",
                range=Range(least=0, most=4294967295),
                max_items=64,
            ),
            "ignore_eos": RestParameter(
                name="ignore_eos",
                meaning=Meaning.FIELD,
                field="stopping.ignore_eos",
                shape="boolean",
                default=0,
            ),
            "include_stop_str_in_output": RestParameter(
                name="include_stop_str_in_output",
                meaning=Meaning.FIELD,
                field="stopping.include_stop",
                shape="boolean",
                default=0,
            ),
            "logprobs": RestParameter(
                name="logprobs",
                meaning=Meaning.FIELD,
                field="output.top_logprobs",
                shape="integer",
                range=Range(least=0, most=20),
                default=0,
                note="how many alternatives; absent: none and no log-probabilities",
            ),
            "echo": RestParameter(
                name="echo", meaning=Meaning.FIELD, field="output.echo", shape="boolean", default=0
            ),
            "prompt_logprobs": RestParameter(
                name="prompt_logprobs",
                meaning=Meaning.FIELD,
                field="output.prompt_logprobs",
                shape="integer",
                range=Range(least=0, most=20),
                note="not with stream",
            ),
            "return_token_ids": RestParameter(
                name="return_token_ids",
                meaning=Meaning.FIELD,
                field="output.prompt_token_ids",
                shape="boolean",
                default=0,
                note="the completion's token ids, too",
            ),
            "return_tokens_as_token_ids": RestParameter(
                name="return_tokens_as_token_ids",
                meaning=Meaning.OWN,
                shape="boolean",
                note="log-probabilities name tokens token_id:5",
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens",
                meaning=Meaning.FIELD,
                field="output.skip_special_tokens",
                shape="boolean",
                default=1,
            ),
            "stream": RestParameter(
                name="stream", meaning=Meaning.OWN, shape="boolean", note="server-sent events"
            ),
            "stream_options": RestParameter(
                name="stream_options",
                meaning=Meaning.OWN,
                shape="object",
                note="what a stream carries besides",
            ),
            "stream_options.include_usage": RestParameter(
                name="stream_options.include_usage",
                meaning=Meaning.OWN,
                shape="boolean",
                note="a last chunk with usage",
            ),
            "stream_options.continuous_usage_stats": RestParameter(
                name="stream_options.continuous_usage_stats",
                meaning=Meaning.OWN,
                shape="boolean",
                note="with include_usage: what was used so far in each chunk",
            ),
            "stream_options.include_obfuscation": RestParameter(
                name="stream_options.include_obfuscation", meaning=Meaning.HINT, shape="boolean"
            ),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.FIELD, field="constraint", shape="object"
            ),
            "response_format.type": RestParameter(
                name="response_format.type",
                meaning=Meaning.FIELD,
                field="constraint",
                shape="string",
                required=True,
                note="text, json_object or json_schema",
            ),
            "response_format.json_schema": RestParameter(
                name="response_format.json_schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
            ),
            "response_format.json_schema.name": RestParameter(
                name="response_format.json_schema.name",
                meaning=Meaning.OWN,
                shape="string",
                note="a name for people",
            ),
            "response_format.json_schema.description": RestParameter(
                name="response_format.json_schema.description", meaning=Meaning.HINT, shape="string"
            ),
            "response_format.json_schema.schema": RestParameter(
                name="response_format.json_schema.schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
                required=True,
            ),
            "response_format.json_schema.strict": RestParameter(
                name="response_format.json_schema.strict",
                meaning=Meaning.OWN,
                shape="boolean",
                note="always strict",
            ),
            "response_format.schema": RestParameter(
                name="response_format.schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
                note="in the place of json_schema, also with json_object, as llama.cpp's server takes it",
            ),
            "structured_outputs": RestParameter(
                name="structured_outputs",
                meaning=Meaning.FIELD,
                field="constraint",
                shape="object",
                note="one of the five below",
            ),
            "structured_outputs.json": RestParameter(
                name="structured_outputs.json",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="string|object",
            ),
            "structured_outputs.regex": RestParameter(
                name="structured_outputs.regex",
                meaning=Meaning.FIELD,
                field="constraint.regex",
                shape="string",
            ),
            "structured_outputs.choice": RestParameter(
                name="structured_outputs.choice",
                meaning=Meaning.FIELD,
                field="constraint.choice",
                shape="array",
                min_items=1,
                max_items=1024,
            ),
            "structured_outputs.grammar": RestParameter(
                name="structured_outputs.grammar",
                meaning=Meaning.FIELD,
                field="constraint.lark",
                shape="string",
                note="Lark, or llama.cpp's GBNF",
            ),
            "structured_outputs.json_object": RestParameter(
                name="structured_outputs.json_object",
                meaning=Meaning.FIELD,
                field="constraint.json_object",
                shape="boolean",
            ),
            "structured_outputs.disable_any_whitespace": RestParameter(
                name="structured_outputs.disable_any_whitespace", meaning=Meaning.HINT, shape="boolean"
            ),
            "structured_outputs.disable_fallback": RestParameter(
                name="structured_outputs.disable_fallback", meaning=Meaning.HINT, shape="boolean"
            ),
            "structured_outputs.disable_additional_properties": RestParameter(
                name="structured_outputs.disable_additional_properties",
                meaning=Meaning.REFUSED,
                nothing=(False,),
            ),
            "structured_outputs.structural_tag": RestParameter(
                name="structured_outputs.structural_tag", meaning=Meaning.REFUSED
            ),
            "structured_outputs.whitespace_pattern": RestParameter(
                name="structured_outputs.whitespace_pattern", meaning=Meaning.REFUSED
            ),
            "guided_json": RestParameter(
                name="guided_json",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="string|object",
            ),
            "guided_regex": RestParameter(
                name="guided_regex", meaning=Meaning.FIELD, field="constraint.regex", shape="string"
            ),
            "guided_choice": RestParameter(
                name="guided_choice",
                meaning=Meaning.FIELD,
                field="constraint.choice",
                shape="array",
                min_items=1,
                max_items=1024,
            ),
            "guided_grammar": RestParameter(
                name="guided_grammar",
                meaning=Meaning.FIELD,
                field="constraint.lark",
                shape="string",
                note="Lark, or llama.cpp's GBNF",
            ),
            "grammar": RestParameter(
                name="grammar",
                meaning=Meaning.FIELD,
                field="constraint.lark",
                shape="string",
                note="as guided_grammar",
            ),
            "regex": RestParameter(
                name="regex",
                meaning=Meaning.FIELD,
                field="constraint.regex",
                shape="string",
                note="as guided_regex",
            ),
            "priority": RestParameter(
                name="priority",
                meaning=Meaning.FIELD,
                field="priority",
                shape="integer",
                range=Range(least=-100, most=100),
                default=0,
                note="lower is earlier, as in vLLM; the contract's priority is the opposite number",
            ),
            "service_tier": RestParameter(
                name="service_tier",
                meaning=Meaning.OWN,
                shape="string",
                note="flex waits for others; priority goes first where allowed; chats' answers tell",
            ),
            "prompt_cache_key": RestParameter(
                name="prompt_cache_key",
                meaning=Meaning.FIELD,
                field="prompt_cache_key",
                shape="string",
                range=Range(least=0, most=512),
                note="requests with one key go to one worker where load allows it",
            ),
            "cache_salt": RestParameter(
                name="cache_salt",
                meaning=Meaning.FIELD,
                field="cache_salt",
                shape="string",
                range=Range(least=0, most=128),
            ),
            "messages": RestParameter(name="messages", meaning=Meaning.REFUSED, nothing=([],)),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.REFUSED, nothing=([],)),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "edits",
        "/v1/edits",
        "GenerateRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "input": RestParameter(
                name="input",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
                note="the text to edit; absent: empty",
            ),
            "instruction": RestParameter(
                name="instruction",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
                required=True,
                note="what is to be done to it",
            ),
            "temperature": RestParameter(
                name="temperature",
                meaning=Meaning.FIELD,
                field="sampling.temperature",
                shape="number",
                range=Range(least=0, most=2),
                default=1,
                note="default: the model's, else 1",
            ),
            "top_p": RestParameter(
                name="top_p",
                meaning=Meaning.FIELD,
                field="sampling.top_p",
                shape="number",
                range=Range(least=0, most=1),
                default=1,
                note="0: the likeliest token; default: the model's, else 1",
            ),
            "n": RestParameter(
                name="n",
                meaning=Meaning.FIELD,
                field="sampling.n",
                shape="integer",
                range=Range(least=1, most=128),
                default=1,
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_key": RestParameter(name="prompt_cache_key", meaning=Meaning.HINT, shape="string"),
            "service_tier": RestParameter(name="service_tier", meaning=Meaning.HINT, shape="string"),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.REFUSED, nothing=([],)),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "truncate_prompt_tokens": RestParameter(name="truncate_prompt_tokens", meaning=Meaning.REFUSED),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "responses",
        "/v1/responses",
        "GenerateRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "temperature": RestParameter(
                name="temperature",
                meaning=Meaning.FIELD,
                field="sampling.temperature",
                shape="number",
                range=Range(least=0, most=2),
                default=1,
                note="default: the model's, else 1",
            ),
            "top_p": RestParameter(
                name="top_p",
                meaning=Meaning.FIELD,
                field="sampling.top_p",
                shape="number",
                range=Range(least=0, most=1),
                default=1,
                note="0: the likeliest token; default: the model's, else 1",
            ),
            "stream": RestParameter(
                name="stream", meaning=Meaning.OWN, shape="boolean", note="typed server-sent events"
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.FIELD, field="chat.tools", shape="array"),
            "tools[].type": RestParameter(
                name="tools[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="function, custom or namespace",
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.FIELD, field="chat.tool_choice", shape="string|object"
            ),
            "tool_choice.type": RestParameter(
                name="tool_choice.type",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.mode",
                shape="string",
                required=True,
            ),
            "input": RestParameter(
                name="input",
                meaning=Meaning.FIELD,
                field="chat.messages",
                shape="string|array",
                min_items=1,
                note="items, or one turn of the user; may be absent with previous_response_id",
            ),
            "input[].type": RestParameter(
                name="input[].type",
                meaning=Meaning.OWN,
                shape="string",
                note="the kind of item; absent: a message",
            ),
            "input[].id": RestParameter(
                name="input[].id",
                meaning=Meaning.OWN,
                shape="string",
                range=Range(least=1, most=128),
                note="the item's name; of a reference, what it refers to",
            ),
            "input[].role": RestParameter(
                name="input[].role", meaning=Meaning.FIELD, field="chat.messages[].role", shape="string"
            ),
            "input[].content": RestParameter(
                name="input[].content",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string|array",
            ),
            "input[].content[].type": RestParameter(
                name="input[].content[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the kind of part",
            ),
            "input[].content[].text": RestParameter(
                name="input[].content[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "input[].content[].refusal": RestParameter(
                name="input[].content[].refusal",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "input[].content[].annotations": RestParameter(
                name="input[].content[].annotations", meaning=Meaning.HINT, shape="array"
            ),
            "input[].content[].logprobs": RestParameter(
                name="input[].content[].logprobs", meaning=Meaning.HINT, shape="array"
            ),
            "input[].content[].parsed": RestParameter(
                name="input[].content[].parsed", meaning=Meaning.HINT, shape="object"
            ),
            "input[].content[].prompt_cache_breakpoint": RestParameter(
                name="input[].content[].prompt_cache_breakpoint", meaning=Meaning.HINT, shape="object"
            ),
            "input[].call_id": RestParameter(
                name="input[].call_id",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.id",
                shape="string",
                range=Range(least=1, most=128),
            ),
            "input[].name": RestParameter(
                name="input[].name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
            ),
            "input[].arguments": RestParameter(
                name="input[].arguments",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
            ),
            "input[].input": RestParameter(
                name="input[].input",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
            ),
            "input[].output": RestParameter(
                name="input[].output",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_result.content",
                shape="string|array",
            ),
            "input[].output[].type": RestParameter(
                name="input[].output[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the kind of part",
            ),
            "input[].output[].text": RestParameter(
                name="input[].output[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_result.content",
                shape="string",
            ),
            "input[].output[].prompt_cache_breakpoint": RestParameter(
                name="input[].output[].prompt_cache_breakpoint", meaning=Meaning.HINT, shape="object"
            ),
            "input[].output[].refusal": RestParameter(
                name="input[].output[].refusal", meaning=Meaning.OWN, shape="string", note="none"
            ),
            "input[].summary": RestParameter(
                name="input[].summary",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="array",
            ),
            "input[].summary[].type": RestParameter(
                name="input[].summary[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the kind of part",
            ),
            "input[].summary[].text": RestParameter(
                name="input[].summary[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
            ),
            "input[].summary[].refusal": RestParameter(
                name="input[].summary[].refusal", meaning=Meaning.OWN, shape="string", note="none"
            ),
            "input[].encrypted_content": RestParameter(
                name="input[].encrypted_content",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
                note="as an earlier response gave it",
            ),
            "input[].status": RestParameter(name="input[].status", meaning=Meaning.HINT, shape="string"),
            "input[].phase": RestParameter(name="input[].phase", meaning=Meaning.HINT, shape="string"),
            "input[].caller": RestParameter(name="input[].caller", meaning=Meaning.HINT, shape="object"),
            "input[].created_by": RestParameter(
                name="input[].created_by", meaning=Meaning.HINT, shape="string"
            ),
            "input[].parsed_arguments": RestParameter(
                name="input[].parsed_arguments", meaning=Meaning.HINT, shape="object"
            ),
            "input[].async": RestParameter(name="input[].async", meaning=Meaning.REFUSED, nothing=(False,)),
            "input[].namespace": RestParameter(
                name="input[].namespace",
                meaning=Meaning.OWN,
                shape="string",
                note="the namespace of the tool that was called",
            ),
            "instructions": RestParameter(
                name="instructions",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
                note="the first turn, of the system; not carried over by previous_response_id",
            ),
            "previous_response_id": RestParameter(
                name="previous_response_id",
                meaning=Meaning.OWN,
                shape="string",
                range=Range(least=1, most=128),
                note="the conversation that this goes on with",
            ),
            "max_output_tokens": RestParameter(
                name="max_output_tokens",
                meaning=Meaning.FIELD,
                field="stopping.max_tokens",
                shape="integer",
                range=Range(least=1, most=4294967295),
            ),
            "text": RestParameter(
                name="text", meaning=Meaning.OWN, shape="object", note="what the text must be"
            ),
            "text.format": RestParameter(
                name="text.format", meaning=Meaning.FIELD, field="constraint", shape="object"
            ),
            "text.format.type": RestParameter(
                name="text.format.type",
                meaning=Meaning.FIELD,
                field="constraint",
                shape="string",
                required=True,
            ),
            "text.format.name": RestParameter(
                name="text.format.name", meaning=Meaning.OWN, shape="string", note="a name for people"
            ),
            "text.format.description": RestParameter(
                name="text.format.description", meaning=Meaning.OWN, shape="string", note="given back"
            ),
            "text.format.schema": RestParameter(
                name="text.format.schema",
                meaning=Meaning.FIELD,
                field="constraint.json_schema",
                shape="object",
            ),
            "text.format.strict": RestParameter(
                name="text.format.strict", meaning=Meaning.OWN, shape="boolean", note="always strict"
            ),
            "text.verbosity": RestParameter(
                name="text.verbosity",
                meaning=Meaning.FIELD,
                field="chat.template.variables.verbosity",
                shape="string",
                note="a variable of the chat template; without effect where it reads none",
            ),
            "reasoning": RestParameter(
                name="reasoning", meaning=Meaning.OWN, shape="object", note="how much the model reasons"
            ),
            "reasoning.effort": RestParameter(
                name="reasoning.effort",
                meaning=Meaning.FIELD,
                field="chat.template.variables.reasoning_effort",
                shape="string",
                note="a template's variable; refused where that is known not to read it, unless it is none",
            ),
            "reasoning.summary": RestParameter(
                name="reasoning.summary", meaning=Meaning.HINT, shape="string"
            ),
            "reasoning.generate_summary": RestParameter(
                name="reasoning.generate_summary", meaning=Meaning.HINT, shape="string"
            ),
            "reasoning.context": RestParameter(
                name="reasoning.context", meaning=Meaning.HINT, shape="string"
            ),
            "reasoning.mode": RestParameter(
                name="reasoning.mode", meaning=Meaning.REFUSED, nothing=("standard",)
            ),
            "top_logprobs": RestParameter(
                name="top_logprobs",
                meaning=Meaning.FIELD,
                field="output.top_logprobs",
                shape="integer",
                range=Range(least=0, most=20),
                default=0,
            ),
            "include": RestParameter(
                name="include",
                meaning=Meaning.OWN,
                shape="array",
                note="message.output_text.logprobs, reasoning.encrypted_content",
            ),
            "truncation": RestParameter(
                name="truncation",
                meaning=Meaning.OWN,
                shape="string",
                note="auto: the oldest turns give way; disabled: too long is an error",
            ),
            "tools[].name": RestParameter(
                name="tools[].name",
                meaning=Meaning.FIELD,
                field="chat.tools[].name",
                shape="string",
                required=True,
            ),
            "tools[].description": RestParameter(
                name="tools[].description",
                meaning=Meaning.FIELD,
                field="chat.tools[].description",
                shape="string",
            ),
            "tools[].parameters": RestParameter(
                name="tools[].parameters",
                meaning=Meaning.FIELD,
                field="chat.tools[].parameters_json_schema",
                shape="object",
            ),
            "tools[].strict": RestParameter(
                name="tools[].strict", meaning=Meaning.FIELD, field="chat.tools[].strict", shape="boolean"
            ),
            "tools[].format": RestParameter(
                name="tools[].format", meaning=Meaning.FIELD, field="chat.tools[].custom", shape="object"
            ),
            "tools[].format.type": RestParameter(
                name="tools[].format.type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="text or grammar",
            ),
            "tools[].format.syntax": RestParameter(
                name="tools[].format.syntax", meaning=Meaning.OWN, shape="string", note="lark or regex"
            ),
            "tools[].format.definition": RestParameter(
                name="tools[].format.definition",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="string",
            ),
            "tools[].output_schema": RestParameter(
                name="tools[].output_schema", meaning=Meaning.HINT, shape="object"
            ),
            "tools[].defer_loading": RestParameter(
                name="tools[].defer_loading", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "tools[].async": RestParameter(name="tools[].async", meaning=Meaning.REFUSED, nothing=(False,)),
            "tools[].allowed_callers": RestParameter(
                name="tools[].allowed_callers", meaning=Meaning.REFUSED, nothing=([], ["direct"])
            ),
            "tools[].tools": RestParameter(
                name="tools[].tools", meaning=Meaning.OWN, shape="array", note="the tools of a namespace"
            ),
            "tools[].tools[].type": RestParameter(
                name="tools[].tools[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="function or custom",
            ),
            "tools[].tools[].name": RestParameter(
                name="tools[].tools[].name",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the model reads the namespace and two underscores before it",
            ),
            "tools[].tools[].description": RestParameter(
                name="tools[].tools[].description",
                meaning=Meaning.OWN,
                shape="string",
                note="as of a tool by itself",
            ),
            "tools[].tools[].parameters": RestParameter(
                name="tools[].tools[].parameters",
                meaning=Meaning.OWN,
                shape="object",
                note="as of a tool by itself",
            ),
            "tools[].tools[].strict": RestParameter(
                name="tools[].tools[].strict",
                meaning=Meaning.OWN,
                shape="boolean",
                note="as of a tool by itself",
            ),
            "tools[].tools[].format": RestParameter(
                name="tools[].tools[].format",
                meaning=Meaning.OWN,
                shape="object",
                note="as of a tool by itself",
            ),
            "tools[].tools[].format.type": RestParameter(
                name="tools[].tools[].format.type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="text or grammar",
            ),
            "tools[].tools[].format.syntax": RestParameter(
                name="tools[].tools[].format.syntax",
                meaning=Meaning.OWN,
                shape="string",
                note="lark or regex",
            ),
            "tools[].tools[].format.definition": RestParameter(
                name="tools[].tools[].format.definition",
                meaning=Meaning.OWN,
                shape="string",
                note="as of a tool by itself",
            ),
            "tools[].tools[].output_schema": RestParameter(
                name="tools[].tools[].output_schema", meaning=Meaning.HINT, shape="object"
            ),
            "tools[].tools[].defer_loading": RestParameter(
                name="tools[].tools[].defer_loading", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "tools[].tools[].async": RestParameter(
                name="tools[].tools[].async", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "tools[].tools[].allowed_callers": RestParameter(
                name="tools[].tools[].allowed_callers", meaning=Meaning.REFUSED, nothing=([], ["direct"])
            ),
            "tool_choice.name": RestParameter(
                name="tool_choice.name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.function_name",
                shape="string",
                note="of a tool in a namespace: both names, with two underscores between them",
            ),
            "tool_choice.mode": RestParameter(
                name="tool_choice.mode", meaning=Meaning.FIELD, field="chat.tool_choice.mode", shape="string"
            ),
            "tool_choice.tools": RestParameter(
                name="tool_choice.tools",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="array",
            ),
            "tool_choice.tools[].type": RestParameter(
                name="tool_choice.tools[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="function or custom",
            ),
            "tool_choice.tools[].name": RestParameter(
                name="tool_choice.tools[].name",
                meaning=Meaning.FIELD,
                field="chat.tool_choice.allowed_names",
                shape="string",
                required=True,
                note="as tool_choice.name",
            ),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls",
                meaning=Meaning.FIELD,
                field="chat.parallel_tool_calls",
                shape="boolean",
                default=1,
            ),
            "background": RestParameter(
                name="background", meaning=Meaning.OWN, shape="boolean", note="the answer is fetched later"
            ),
            "store": RestParameter(
                name="store", meaning=Meaning.OWN, shape="boolean", note="kept for 30 days; default true"
            ),
            "metadata": RestParameter(
                name="metadata",
                meaning=Meaning.OWN,
                shape="object",
                range=Range(least=0, most=512),
                max_items=16,
                note="kept and given back",
            ),
            "service_tier": RestParameter(
                name="service_tier",
                meaning=Meaning.OWN,
                shape="string",
                note="flex waits for others; priority goes first where allowed",
            ),
            "prompt_cache_key": RestParameter(
                name="prompt_cache_key",
                meaning=Meaning.FIELD,
                field="prompt_cache_key",
                shape="string",
                range=Range(least=0, most=512),
                note="requests with one key go to one worker where load allows it",
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.OWN, shape="string", note="a hint, given back"
            ),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.OWN, shape="string", note="a hint, given back"
            ),
            "user": RestParameter(
                name="user", meaning=Meaning.OWN, shape="string", note="a hint, given back"
            ),
            "max_tool_calls": RestParameter(
                name="max_tool_calls",
                meaning=Meaning.OWN,
                shape="integer",
                note="a hint, given back: there are no built-in tools",
            ),
            "stream_options": RestParameter(name="stream_options", meaning=Meaning.HINT, shape="object"),
            "stream_options.include_obfuscation": RestParameter(
                name="stream_options.include_obfuscation", meaning=Meaning.HINT, shape="boolean"
            ),
            "stream_options.include_usage": RestParameter(
                name="stream_options.include_usage", meaning=Meaning.HINT, shape="boolean"
            ),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "access_programs": RestParameter(name="access_programs", meaning=Meaning.REFUSED),
            "background_options": RestParameter(name="background_options", meaning=Meaning.REFUSED),
            "context_management": RestParameter(
                name="context_management", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "conversation": RestParameter(name="conversation", meaning=Meaning.REFUSED),
            "image": RestParameter(name="image", meaning=Meaning.REFUSED),
            "prompt": RestParameter(name="prompt", meaning=Meaning.REFUSED),
            "messages": RestParameter(name="messages", meaning=Meaning.REFUSED, nothing=([],)),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "truncate_prompt_tokens": RestParameter(name="truncate_prompt_tokens", meaning=Meaning.REFUSED),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "embeddings",
        "/v1/embeddings",
        "EmbedRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "input": RestParameter(
                name="input",
                meaning=Meaning.FIELD,
                field="inputs",
                shape="string|array",
                min_items=1,
                max_items=2048,
                required=True,
                note="text, tokens, or a list of either",
            ),
            "encoding_format": RestParameter(
                name="encoding_format", meaning=Meaning.OWN, shape="string", note="float or base64"
            ),
            "dimensions": RestParameter(
                name="dimensions",
                meaning=Meaning.FIELD,
                field="dimensions",
                shape="integer",
                range=Range(least=1, most=4294967295),
            ),
            "normalize": RestParameter(
                name="normalize",
                meaning=Meaning.FIELD,
                field="normalize",
                shape="boolean",
                note="default: the model's",
            ),
            "truncate": RestParameter(
                name="truncate", meaning=Meaning.FIELD, field="truncate", shape="boolean", default=0
            ),
            "truncate_prompt_tokens": RestParameter(
                name="truncate_prompt_tokens",
                meaning=Meaning.FIELD,
                field="truncate",
                shape="integer",
                range=Range(least=-1, most=-1),
                default=0,
                note="-1: as truncate",
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_key": RestParameter(name="prompt_cache_key", meaning=Meaning.HINT, shape="string"),
            "service_tier": RestParameter(name="service_tier", meaning=Meaning.HINT, shape="string"),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.REFUSED, nothing=([],)),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "rerank",
        "/v1/rerank",
        "RerankRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "query": RestParameter(
                name="query", meaning=Meaning.FIELD, field="query", shape="string", required=True
            ),
            "documents": RestParameter(
                name="documents",
                meaning=Meaning.FIELD,
                field="documents",
                shape="array",
                min_items=1,
                max_items=1024,
                required=True,
                note="texts, or objects that have one",
            ),
            "documents[].text": RestParameter(
                name="documents[].text",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the document",
            ),
            "top_n": RestParameter(
                name="top_n",
                meaning=Meaning.FIELD,
                field="top_n",
                shape="integer",
                range=Range(least=0, most=4294967295),
                note="0: all",
            ),
            "return_documents": RestParameter(
                name="return_documents",
                meaning=Meaning.OWN,
                shape="boolean",
                note="whether results have their texts; absent: they do",
            ),
            "max_tokens_per_doc": RestParameter(
                name="max_tokens_per_doc",
                meaning=Meaning.FIELD,
                field="max_document_tokens",
                shape="integer",
                range=Range(least=1, most=4294967295),
            ),
            "truncate_prompt_tokens": RestParameter(
                name="truncate_prompt_tokens",
                meaning=Meaning.FIELD,
                field="max_tokens",
                shape="integer",
                range=Range(least=-1, most=4294967295),
                note="-1: as truncate",
            ),
            "truncate": RestParameter(
                name="truncate", meaning=Meaning.FIELD, field="truncate", shape="boolean", default=0
            ),
            "use_activation": RestParameter(
                name="use_activation", meaning=Meaning.FIELD, field="activation", shape="boolean", default=1
            ),
            "activation": RestParameter(
                name="activation",
                meaning=Meaning.FIELD,
                field="activation",
                shape="boolean",
                default=1,
                alias_of="use_activation",
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_key": RestParameter(name="prompt_cache_key", meaning=Meaning.HINT, shape="string"),
            "service_tier": RestParameter(name="service_tier", meaning=Meaning.HINT, shape="string"),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.REFUSED, nothing=([],)),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "score",
        "/v1/score",
        "RerankRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "text_1": RestParameter(
                name="text_1",
                meaning=Meaning.FIELD,
                field="queries",
                shape="string|array",
                max_items=1024,
                note="one text, or one for each of text_2; required under one of its names",
            ),
            "queries": RestParameter(
                name="queries",
                meaning=Meaning.FIELD,
                field="queries",
                shape="string|array",
                max_items=1024,
                alias_of="text_1",
                note="one text, or one for each of text_2; required under one of its names",
            ),
            "data_1": RestParameter(
                name="data_1",
                meaning=Meaning.FIELD,
                field="queries",
                shape="string|array",
                max_items=1024,
                alias_of="text_1",
                note="one text, or one for each of text_2; required under one of its names",
            ),
            "text_2": RestParameter(
                name="text_2",
                meaning=Meaning.FIELD,
                field="documents",
                shape="string|array",
                min_items=1,
                max_items=1024,
                note="required under one of its names",
            ),
            "documents": RestParameter(
                name="documents",
                meaning=Meaning.FIELD,
                field="documents",
                shape="string|array",
                min_items=1,
                max_items=1024,
                alias_of="text_2",
                note="required under one of its names",
            ),
            "items": RestParameter(
                name="items",
                meaning=Meaning.FIELD,
                field="documents",
                shape="string|array",
                min_items=1,
                max_items=1024,
                alias_of="text_2",
                note="required under one of its names",
            ),
            "data_2": RestParameter(
                name="data_2",
                meaning=Meaning.FIELD,
                field="documents",
                shape="string|array",
                min_items=1,
                max_items=1024,
                alias_of="text_2",
                note="required under one of its names",
            ),
            "max_tokens_per_doc": RestParameter(
                name="max_tokens_per_doc",
                meaning=Meaning.FIELD,
                field="max_document_tokens",
                shape="integer",
                range=Range(least=1, most=4294967295),
            ),
            "truncate_prompt_tokens": RestParameter(
                name="truncate_prompt_tokens",
                meaning=Meaning.FIELD,
                field="max_tokens",
                shape="integer",
                range=Range(least=-1, most=4294967295),
                note="-1: as truncate",
            ),
            "truncate": RestParameter(
                name="truncate", meaning=Meaning.FIELD, field="truncate", shape="boolean", default=0
            ),
            "use_activation": RestParameter(
                name="use_activation", meaning=Meaning.FIELD, field="activation", shape="boolean", default=1
            ),
            "activation": RestParameter(
                name="activation",
                meaning=Meaning.FIELD,
                field="activation",
                shape="boolean",
                default=1,
                alias_of="use_activation",
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_key": RestParameter(name="prompt_cache_key", meaning=Meaning.HINT, shape="string"),
            "service_tier": RestParameter(name="service_tier", meaning=Meaning.HINT, shape="string"),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.REFUSED, nothing=([],)),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "tokenize",
        "/tokenize",
        "TokenizeRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "messages": RestParameter(
                name="messages",
                meaning=Meaning.FIELD,
                field="chat.messages",
                shape="array",
                min_items=1,
                required=True,
                note="/tokenize: this or prompt",
            ),
            "messages[].role": RestParameter(
                name="messages[].role",
                meaning=Meaning.FIELD,
                field="chat.messages[].role",
                shape="string",
                required=True,
            ),
            "messages[].content": RestParameter(
                name="messages[].content",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string|array",
            ),
            "messages[].content[].type": RestParameter(
                name="messages[].content[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="the kind of part",
            ),
            "messages[].content[].text": RestParameter(
                name="messages[].content[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "messages[].content[].refusal": RestParameter(
                name="messages[].content[].refusal",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "messages[].refusal": RestParameter(
                name="messages[].refusal",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].text",
                shape="string",
            ),
            "messages[].content[].prompt_cache_breakpoint": RestParameter(
                name="messages[].content[].prompt_cache_breakpoint", meaning=Meaning.HINT, shape="object"
            ),
            "messages[].parsed": RestParameter(
                name="messages[].parsed", meaning=Meaning.HINT, shape="object"
            ),
            "messages[].name": RestParameter(
                name="messages[].name", meaning=Meaning.FIELD, field="chat.messages[].name", shape="string"
            ),
            "messages[].reasoning_content": RestParameter(
                name="messages[].reasoning_content",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
            ),
            "messages[].reasoning": RestParameter(
                name="messages[].reasoning",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
                alias_of="messages[].reasoning_content",
            ),
            "messages[].content[].thinking": RestParameter(
                name="messages[].content[].thinking",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string|array",
            ),
            "messages[].content[].thinking[].type": RestParameter(
                name="messages[].content[].thinking[].type",
                meaning=Meaning.OWN,
                shape="string",
                note="always text",
            ),
            "messages[].content[].thinking[].text": RestParameter(
                name="messages[].content[].thinking[].text",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].reasoning",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls": RestParameter(
                name="messages[].tool_calls",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call",
                shape="array",
            ),
            "messages[].tool_calls[].id": RestParameter(
                name="messages[].tool_calls[].id",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.id",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].type": RestParameter(
                name="messages[].tool_calls[].type",
                meaning=Meaning.OWN,
                shape="string",
                note="function or custom",
            ),
            "messages[].tool_calls[].index": RestParameter(
                name="messages[].tool_calls[].index", meaning=Meaning.HINT, shape="integer"
            ),
            "messages[].tool_calls[].function": RestParameter(
                name="messages[].tool_calls[].function",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call",
                shape="object",
            ),
            "messages[].tool_calls[].function.name": RestParameter(
                name="messages[].tool_calls[].function.name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].function.arguments": RestParameter(
                name="messages[].tool_calls[].function.arguments",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].function.parsed_arguments": RestParameter(
                name="messages[].tool_calls[].function.parsed_arguments", meaning=Meaning.HINT, shape="object"
            ),
            "messages[].tool_calls[].custom": RestParameter(
                name="messages[].tool_calls[].custom",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.custom",
                shape="object",
            ),
            "messages[].tool_calls[].custom.name": RestParameter(
                name="messages[].tool_calls[].custom.name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
                required=True,
            ),
            "messages[].tool_calls[].custom.input": RestParameter(
                name="messages[].tool_calls[].custom.input",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
                required=True,
            ),
            "messages[].function_call": RestParameter(
                name="messages[].function_call",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call",
                shape="object",
            ),
            "messages[].function_call.name": RestParameter(
                name="messages[].function_call.name",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.name",
                shape="string",
                required=True,
            ),
            "messages[].function_call.arguments": RestParameter(
                name="messages[].function_call.arguments",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_call.arguments",
                shape="string",
                required=True,
            ),
            "messages[].tool_call_id": RestParameter(
                name="messages[].tool_call_id",
                meaning=Meaning.FIELD,
                field="chat.messages[].parts[].tool_result.tool_call_id",
                shape="string",
            ),
            "messages[].annotations": RestParameter(
                name="messages[].annotations", meaning=Meaning.HINT, shape="array"
            ),
            "messages[].audio": RestParameter(
                name="messages[].audio", meaning=Meaning.REFUSED, shape="object"
            ),
            "prompt": RestParameter(
                name="prompt", meaning=Meaning.FIELD, field="text", shape="string", note="this or messages"
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.FIELD, field="chat.tools", shape="array"),
            "tools[].type": RestParameter(
                name="tools[].type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="function or custom",
            ),
            "tools[].function": RestParameter(
                name="tools[].function", meaning=Meaning.FIELD, field="chat.tools[]", shape="object"
            ),
            "tools[].function.name": RestParameter(
                name="tools[].function.name",
                meaning=Meaning.FIELD,
                field="chat.tools[].name",
                shape="string",
                required=True,
            ),
            "tools[].function.description": RestParameter(
                name="tools[].function.description",
                meaning=Meaning.FIELD,
                field="chat.tools[].description",
                shape="string",
            ),
            "tools[].function.parameters": RestParameter(
                name="tools[].function.parameters",
                meaning=Meaning.FIELD,
                field="chat.tools[].parameters_json_schema",
                shape="object",
            ),
            "tools[].function.strict": RestParameter(
                name="tools[].function.strict",
                meaning=Meaning.FIELD,
                field="chat.tools[].strict",
                shape="boolean",
            ),
            "tools[].custom": RestParameter(
                name="tools[].custom", meaning=Meaning.FIELD, field="chat.tools[].custom", shape="object"
            ),
            "tools[].custom.name": RestParameter(
                name="tools[].custom.name",
                meaning=Meaning.FIELD,
                field="chat.tools[].name",
                shape="string",
                required=True,
            ),
            "tools[].custom.description": RestParameter(
                name="tools[].custom.description",
                meaning=Meaning.FIELD,
                field="chat.tools[].description",
                shape="string",
            ),
            "tools[].custom.format": RestParameter(
                name="tools[].custom.format",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="object",
            ),
            "tools[].custom.format.type": RestParameter(
                name="tools[].custom.format.type",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="text or grammar",
            ),
            "tools[].custom.format.grammar": RestParameter(
                name="tools[].custom.format.grammar",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="object",
            ),
            "tools[].custom.format.grammar.syntax": RestParameter(
                name="tools[].custom.format.grammar.syntax",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="lark or regex",
            ),
            "tools[].custom.format.grammar.definition": RestParameter(
                name="tools[].custom.format.grammar.definition",
                meaning=Meaning.FIELD,
                field="chat.tools[].custom",
                shape="string",
                required=True,
            ),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs",
                meaning=Meaning.FIELD,
                field="chat.template.variables",
                shape="object",
            ),
            "add_generation_prompt": RestParameter(
                name="add_generation_prompt",
                meaning=Meaning.FIELD,
                field="chat.template.add_generation_prompt",
                shape="boolean",
            ),
            "continue_final_message": RestParameter(
                name="continue_final_message",
                meaning=Meaning.FIELD,
                field="chat.template.continue_final_message",
                shape="boolean",
                default=0,
            ),
            "add_special_tokens": RestParameter(
                name="add_special_tokens", meaning=Meaning.FIELD, field="add_special_tokens", shape="boolean"
            ),
            "return_token_strs": RestParameter(
                name="return_token_strs", meaning=Meaning.OWN, shape="boolean", note="the text of each token"
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_key": RestParameter(name="prompt_cache_key", meaning=Meaning.HINT, shape="string"),
            "service_tier": RestParameter(name="service_tier", meaning=Meaning.HINT, shape="string"),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "truncate_prompt_tokens": RestParameter(name="truncate_prompt_tokens", meaning=Meaning.REFUSED),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "detokenize",
        "/detokenize",
        "DetokenizeRequest",
        {
            "model": RestParameter(
                name="model",
                meaning=Meaning.FIELD,
                field="model",
                shape="string",
                range=Range(least=1, most=512),
                required=True,
            ),
            "tokens": RestParameter(
                name="tokens",
                meaning=Meaning.FIELD,
                field="token_ids",
                shape="array",
                range=Range(least=0, most=4294967295),
                required=True,
            ),
            "skip_special_tokens": RestParameter(
                name="skip_special_tokens",
                meaning=Meaning.FIELD,
                field="skip_special_tokens",
                shape="boolean",
            ),
            "user": RestParameter(name="user", meaning=Meaning.HINT, shape="string"),
            "metadata": RestParameter(name="metadata", meaning=Meaning.HINT, shape="object"),
            "safety_identifier": RestParameter(
                name="safety_identifier", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_retention": RestParameter(
                name="prompt_cache_retention", meaning=Meaning.HINT, shape="string"
            ),
            "prompt_cache_key": RestParameter(name="prompt_cache_key", meaning=Meaning.HINT, shape="string"),
            "service_tier": RestParameter(name="service_tier", meaning=Meaning.HINT, shape="string"),
            "verbosity": RestParameter(name="verbosity", meaning=Meaning.HINT, shape="string"),
            "prompt_cache_options": RestParameter(
                name="prompt_cache_options", meaning=Meaning.HINT, shape="object"
            ),
            "spaces_between_special_tokens": RestParameter(
                name="spaces_between_special_tokens", meaning=Meaning.HINT, shape="boolean"
            ),
            "audio": RestParameter(name="audio", meaning=Meaning.REFUSED),
            "best_of": RestParameter(name="best_of", meaning=Meaning.REFUSED, nothing=(1,)),
            "function_call": RestParameter(
                name="function_call", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "functions": RestParameter(name="functions", meaning=Meaning.REFUSED, nothing=([],)),
            "modalities": RestParameter(name="modalities", meaning=Meaning.REFUSED, nothing=(["text"],)),
            "moderation": RestParameter(name="moderation", meaning=Meaning.REFUSED),
            "parallel_tool_calls": RestParameter(
                name="parallel_tool_calls", meaning=Meaning.REFUSED, nothing=(True,)
            ),
            "reasoning_effort": RestParameter(
                name="reasoning_effort", meaning=Meaning.REFUSED, nothing=("none",)
            ),
            "store": RestParameter(name="store", meaning=Meaning.REFUSED, nothing=(False,)),
            "suffix": RestParameter(name="suffix", meaning=Meaning.REFUSED, nothing=("",)),
            "prediction": RestParameter(name="prediction", meaning=Meaning.REFUSED),
            "web_search_options": RestParameter(name="web_search_options", meaning=Meaning.REFUSED),
            "chat_template_kwargs": RestParameter(
                name="chat_template_kwargs", meaning=Meaning.REFUSED, nothing=({},)
            ),
            "echo": RestParameter(name="echo", meaning=Meaning.REFUSED, nothing=(False,)),
            "max_completion_tokens": RestParameter(name="max_completion_tokens", meaning=Meaning.REFUSED),
            "response_format": RestParameter(
                name="response_format", meaning=Meaning.REFUSED, nothing=({"type": "text"},)
            ),
            "tool_choice": RestParameter(
                name="tool_choice", meaning=Meaning.REFUSED, nothing=("none", "auto")
            ),
            "tools": RestParameter(name="tools", meaning=Meaning.REFUSED, nothing=([],)),
            "top_logprobs": RestParameter(name="top_logprobs", meaning=Meaning.REFUSED, nothing=(0,)),
            "chat_template": RestParameter(name="chat_template", meaning=Meaning.REFUSED),
            "documents": RestParameter(name="documents", meaning=Meaning.REFUSED, nothing=([],)),
            "early_stopping": RestParameter(name="early_stopping", meaning=Meaning.REFUSED, nothing=(False,)),
            "grammar": RestParameter(name="grammar", meaning=Meaning.REFUSED, nothing=("",)),
            "guided_choice": RestParameter(name="guided_choice", meaning=Meaning.REFUSED),
            "guided_grammar": RestParameter(name="guided_grammar", meaning=Meaning.REFUSED),
            "guided_json": RestParameter(name="guided_json", meaning=Meaning.REFUSED),
            "guided_regex": RestParameter(name="guided_regex", meaning=Meaning.REFUSED),
            "length_penalty": RestParameter(name="length_penalty", meaning=Meaning.REFUSED, nothing=(1,)),
            "logits_processors": RestParameter(
                name="logits_processors", meaning=Meaning.REFUSED, nothing=([],)
            ),
            "lora_path": RestParameter(name="lora_path", meaning=Meaning.REFUSED),
            "mirostat": RestParameter(name="mirostat", meaning=Meaning.REFUSED, nothing=(0,)),
            "regex": RestParameter(name="regex", meaning=Meaning.REFUSED),
            "structured_outputs": RestParameter(name="structured_outputs", meaning=Meaning.REFUSED),
            "allowed_token_ids": RestParameter(name="allowed_token_ids", meaning=Meaning.REFUSED),
            "bad_words": RestParameter(name="bad_words", meaning=Meaning.REFUSED, nothing=([],)),
            "prompt_logprobs": RestParameter(name="prompt_logprobs", meaning=Meaning.REFUSED),
            "return_token_ids": RestParameter(
                name="return_token_ids", meaning=Meaning.REFUSED, nothing=(False,)
            ),
            "truncate_prompt_tokens": RestParameter(name="truncate_prompt_tokens", meaning=Meaning.REFUSED),
            "typical_p": RestParameter(name="typical_p", meaning=Meaning.REFUSED, nothing=(1,)),
            "use_beam_search": RestParameter(
                name="use_beam_search", meaning=Meaning.REFUSED, nothing=(False,)
            ),
        },
    ),
    RestEndpoint(
        "batches",
        "/v1/batches",
        "",
        {
            "metadata": RestParameter(
                name="metadata",
                meaning=Meaning.OWN,
                shape="object",
                range=Range(least=0, most=512),
                max_items=16,
                note="what its owner writes on what is stored",
            ),
            "input_file_id": RestParameter(
                name="input_file_id",
                meaning=Meaning.OWN,
                shape="string",
                range=Range(least=1, most=128),
                required=True,
                note="the requests, one a line",
            ),
            "endpoint": RestParameter(
                name="endpoint",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="what every line asks for",
            ),
            "completion_window": RestParameter(
                name="completion_window",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="always 24h",
            ),
            "output_expires_after": RestParameter(
                name="output_expires_after",
                meaning=Meaning.OWN,
                shape="object",
                note="how long the files of results are kept",
            ),
            "output_expires_after.anchor": RestParameter(
                name="output_expires_after.anchor",
                meaning=Meaning.OWN,
                shape="string",
                required=True,
                note="always created_at",
            ),
            "output_expires_after.seconds": RestParameter(
                name="output_expires_after.seconds",
                meaning=Meaning.OWN,
                shape="integer",
                range=Range(least=3600, most=2592000),
                required=True,
                note="from then on",
            ),
        },
    ),
    RestEndpoint(
        "chat_update",
        "/v1/chat/completions/{completion_id}",
        "",
        {
            "metadata": RestParameter(
                name="metadata",
                meaning=Meaning.OWN,
                shape="object",
                range=Range(least=0, most=512),
                max_items=16,
                note="what its owner writes on it; null: nothing",
            ),
        },
    ),
)
"""What each REST endpoint takes."""
