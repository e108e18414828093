"""Reading model files: metadata and tensors, without any model."""
