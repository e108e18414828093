"""LlamaIndex, as it speaks to servers that are like OpenAI's."""

from jobs import KEY, MODEL, URL, job, run
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

model = OpenAILike(
    api_base=URL,
    api_key=KEY,
    model=MODEL,
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=2048,
    max_tokens=64,
    temperature=0,
)
HELLO = [ChatMessage(role="user", content="Say hello to Ada, who is 36.")]


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"Sunny in {city}."


@job
def chat() -> None:
    assert model.chat(HELLO).message.content


@job
def stream() -> None:
    assert list(model.stream_chat(HELLO))[-1].message.content


@job
def tools() -> None:
    made = FunctionTool.from_defaults(weather)
    answer = model.chat_with_tools([made], user_msg="The weather in Rome?", tool_required=True)
    (call, *_) = model.get_tool_calls_from_response(answer)
    assert call.tool_name == "weather"


@job
def structured_output() -> None:
    assert isinstance(model.as_structured_llm(Person).chat(HELLO).raw, Person)


@job
def embeddings() -> None:
    made = OpenAILikeEmbedding(model_name=MODEL, api_base=URL, api_key=KEY)
    assert len(made.get_text_embedding_batch(["One.", "Two."])) == 2


run()
