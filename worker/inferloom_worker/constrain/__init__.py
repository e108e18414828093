"""What a completion's text must conform to: grammars, compiled for a tokenizer, as masks over its tokens."""
