"""What a model calls its tools, which tells whose a call is."""

from inferloom_mesh.errors import invalid


class Names:
    """Those of one request. The same tool may be there twice, as OpenAI takes it."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, str, str | None]] = {}
        """By name, the place, the type and the namespace of the first tool that has it."""

    def add(self, place: str, name: str, kind: str, namespace: str | None = None) -> None:
        """Note what the model calls the tool at ``place``, such as ``tools[1]``.

        Raises:
            InferloomError: It calls a tool of another type, or of another namespace, the same.
        """
        first, *other = self._of.setdefault(name, (place, kind, namespace))
        if other != [kind, namespace]:
            param = f"{place}.name"
            message = f"the model would read it as {name}, which is the name of '{first}' too."
            raise invalid(param, f"Invalid '{param}': {message}")
