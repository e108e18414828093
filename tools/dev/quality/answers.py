"""Greedy answers to a few questions of different kinds, to be read by a person."""

import json
from urllib.request import Request, urlopen

TOKENS = 64

QUESTIONS = (
    "What is the capital of France?",
    "Name three animals that live in the sea.",
    "Explain in two sentences why the sky is blue.",
    "Write a short poem about rain.",
    "What is 12 plus 30?",
    "Translate into French: Good morning, my friend.",
    "Give me a recipe for pancakes.",
    "Who wrote Romeo and Juliet?",
    "List the planets of the solar system.",
    "What is the opposite of hot?",
    "Write a Python function that adds two numbers.",
    "How do plants make food?",
    "Tell me a joke about a cat.",
    "What should I do when I cannot sleep?",
    "Describe a forest in autumn.",
    "Is a tomato a fruit or a vegetable?",
    "Summarise the story of Cinderella in one sentence.",
    "What is machine learning?",
    "Write a polite e-mail that asks for a day off.",
    "Count from one to ten.",
)


def ask(url: str, model: str, question: str) -> str:
    """The greedy answer of an OpenAI-compatible server; ``url`` is its base URL."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": TOKENS,
        "temperature": 0,
    }
    request = Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urlopen(request, timeout=120) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
    return text


def same_words(one: str, other: str) -> int:
    """How many words two answers have in common before they part."""
    count = 0
    for mine, theirs in zip(one.split(), other.split(), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
