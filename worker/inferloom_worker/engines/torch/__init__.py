"""The engine around a model in torch or in the kernels."""
