"""What one grammar may take."""

from llguidance import LLParserLimits


def limits() -> LLParserLimits:
    """The library's own bounds, of a grammar and of the work at each token."""
    return LLParserLimits(
        max_items_in_row=10_000,  # the work at one token is bounded apart
        max_grammar_size=200_000,
        max_lexer_states=50_000,  # about 100 MB
        verbose_errors=False,
    )
