"""What a gateway and a worker both measure of requests, under vLLM's names."""

from inferloom_mesh.metrics import SECONDS, TOKENS, Metrics

MODEL = "model_name"
"""The label of a model's name."""


class RequestMeters:
    """Counters and distributions by model. Times are in seconds, as their owner sees them."""

    def __init__(self, metrics: Metrics) -> None:
        count, spread = metrics.counter, metrics.histogram
        self._prompt = count("vllm:prompt_tokens", "Prompt tokens processed.", MODEL)
        self.generated = count("vllm:generation_tokens", "Tokens generated.", MODEL)
        self.first = spread(
            "vllm:time_to_first_token_seconds", "From arrival to the first token.", SECONDS, MODEL
        )
        self.between = spread(
            "vllm:inter_token_latency_seconds", "Between two events with tokens.", SECONDS, MODEL
        )
        self.whole = spread(
            "vllm:e2e_request_latency_seconds",
            "From arrival to the end, of requests that ended well.",
            SECONDS,
            MODEL,
        )
        self._queue = spread("vllm:request_queue_time_seconds", "Waiting for the engine.", SECONDS, MODEL)
        self._prefill = spread("vllm:request_prefill_time_seconds", "Reading the prompt.", SECONDS, MODEL)
        self._decode = spread("vllm:request_decode_time_seconds", "Generating.", SECONDS, MODEL)
        self._prompts = spread("vllm:request_prompt_tokens", "Prompt tokens of a request.", TOKENS, MODEL)
        self._answers = spread(
            "vllm:request_generation_tokens", "Tokens generated for a request.", TOKENS, MODEL
        )

    def read(self, model: str, tokens: int, queue_s: float, prefill_s: float) -> None:
        """A request's prompt was read."""
        self._prompt.add(model, by=tokens)
        self._prompts.add(tokens, model)
        self._queue.add(queue_s, model)
        self._prefill.add(prefill_s, model)

    def answered(self, model: str, tokens: int, decode_s: float) -> None:
        """A request was answered; its tokens are counted as generated when they come."""
        self._answers.add(tokens, model)
        self._decode.add(decode_s, model)
