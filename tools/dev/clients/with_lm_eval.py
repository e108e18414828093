"""lm-eval: log-likelihoods by completions, answers by chat."""

from jobs import MODEL, TOKENIZER, URL, job, run
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI


@job
def log_likelihoods() -> None:
    model = LocalCompletionsAPI(
        model=MODEL, base_url=f"{URL}/completions", tokenizer=TOKENIZER, tokenizer_backend="huggingface"
    )
    asked = [
        Instance("loglikelihood", {}, ("The capital of France is", f" {city}"), i)
        for i, city in enumerate(("Paris", "seven"))
    ]
    (right, _), (wrong, _) = model.loglikelihood(asked)
    assert wrong < right < 0


@job
def completions() -> None:
    model = LocalCompletionsAPI(
        model=MODEL, base_url=f"{URL}/completions", tokenizer=TOKENIZER, tokenizer_backend="huggingface"
    )
    asked = Instance("generate_until", {}, ("One, two,", {"until": ["."], "max_gen_toks": 8}), 0)
    assert model.generate_until([asked])[0]


@job
def chat() -> None:
    model = LocalChatCompletion(model=MODEL, base_url=f"{URL}/chat/completions", eos_string="<|im_end|>")
    turns = model.apply_chat_template([{"role": "user", "content": "Say hello."}])
    asked = Instance("generate_until", {}, (turns, {"until": ["."], "max_gen_toks": 16}), 0)
    assert model.generate_until([asked])[0]


run()
