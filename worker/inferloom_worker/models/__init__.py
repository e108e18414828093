"""Model implementations: tensors in, logits out."""
