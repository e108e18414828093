"""Measuring structured output: a server's answers, and the grammars' judgement of given texts."""
