"""The fields of answers that OpenAI's own have not; docs/extensions.md says what they are."""

EXTENSIONS: dict[str, frozenset[str]] = {
    "message": frozenset({"reasoning", "reasoning_content"}),
    "call": frozenset({"custom"}),
    "choice": frozenset({"prompt_logprobs", "prompt_token_ids", "stop_reason", "token_ids"}),
    "completion": frozenset({"prompt_logprobs", "prompt_token_ids"}),
    "model": frozenset(
        {
            *("adapters", "alias_of", "aliases", "architecture", "capabilities", "chat_template_hash"),
            *("compute_hash", "constraints", "context_length", "continuation", "dtype"),
            *("embedding_dimensions", "engine", "instruction_set", "longest_step_s", "max_model_len"),
            *("parent", "permission", "quantization", "reasoning_format", "root", "sampling_defaults"),
            *("server", "supported_parameters", "tokenizer_hash", "tool_format", "vocabulary_size"),
            *("weights_hash", "workers"),
        }
    ),
    "incomplete": frozenset({"stop_reason"}),
    "response": frozenset({"store"}),
}
"""By the kind of object that has them."""

NAMES = frozenset[str]().union(*EXTENSIONS.values())
