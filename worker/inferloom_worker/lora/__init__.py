"""LoRA adapters in the form in which peft saves them."""
