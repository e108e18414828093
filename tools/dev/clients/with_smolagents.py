"""smolagents."""

from jobs import KEY, MODEL, URL, job, run
from smolagents import ChatMessage, OpenAIServerModel, ToolCallingAgent, tool

model = OpenAIServerModel(model_id=MODEL, api_base=URL, api_key=KEY, max_tokens=64, temperature=0)
HELLO = [ChatMessage(role="user", content=[{"type": "text", "text": "Say hello."}])]


@tool
def weather(city: str) -> str:
    """Tells the weather of a city.

    Args:
        city: Where.
    """
    return f"Sunny in {city}."


@job
def chat() -> None:
    assert model.generate(HELLO).content


@job
def stream() -> None:
    assert "".join(part.content or "" for part in model.generate_stream(HELLO))


@job
def structured_output() -> None:
    schema = {
        "type": "json_schema",
        "json_schema": {
            "name": "person",
            "schema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        },
    }
    assert '"name"' in model.generate(HELLO, response_format=schema).content


@job
def tools() -> None:
    said = model.generate(HELLO, tools_to_call_from=[weather])
    assert said.tool_calls[0].function.name == "weather"


@job
def agent() -> None:
    made = ToolCallingAgent(tools=[weather], model=model, max_steps=2)
    assert made.run("How is the weather in Rome?") is not None


run()
