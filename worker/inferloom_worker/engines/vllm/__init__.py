"""vLLM as an engine: in this process, over its AsyncLLM, token ids in and out.

Only ``async_llm`` and ``processor`` import vLLM; everything else is plain, and tested without it.
"""
