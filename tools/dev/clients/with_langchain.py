"""LangChain, by langchain-openai."""

from jobs import KEY, MODEL, URL, job, run
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

model = ChatOpenAI(base_url=URL, api_key=KEY, model=MODEL, max_tokens=64, temperature=0)


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"Sunny in {city}."


@job
def chat() -> None:
    assert model.invoke("Say hello.").content


@job
def stream() -> None:
    assert "".join(chunk.content for chunk in model.stream("Say hello."))


@job
def tools() -> None:
    answer = model.bind_tools([weather], tool_choice="any").invoke("How is the weather in Rome?")
    assert answer.tool_calls[0]["name"] == "weather"
    assert "Sunny" in weather.invoke(answer.tool_calls[0]["args"])


@job
def structured_output() -> None:
    for method in ("json_schema", "function_calling"):
        asked = model.with_structured_output(Person, method=method)
        assert isinstance(asked.invoke("Ada is 36."), Person)


@job
def responses() -> None:
    other = ChatOpenAI(base_url=URL, api_key=KEY, model=MODEL, max_tokens=16, use_responses_api=True)
    assert other.invoke("Say hello.").content


@job
def agent() -> None:
    from langchain.agents import create_agent

    made = create_agent(model, tools=[weather], system_prompt="Be short.")
    said = made.invoke({"messages": [{"role": "user", "content": "Hello!"}]}, {"recursion_limit": 12})
    assert said["messages"][-1]


@job
def embeddings() -> None:
    made = OpenAIEmbeddings(base_url=URL, api_key=KEY, model=MODEL, check_embedding_ctx_length=False)
    assert len(made.embed_documents(["One.", "Two."])) == 2


run()
