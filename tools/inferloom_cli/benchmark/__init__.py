"""A closed-loop load on any OpenAI-compatible server, and what it shows.

``prompts`` and ``load`` say what is sent, ``loop`` by how many at once, and ``connection`` sends it;
``response`` and ``events`` read the bytes that come back, ``answer`` keeps when each piece of text came,
``summary`` makes numbers of that, and ``table`` and ``plot`` show them.
"""
