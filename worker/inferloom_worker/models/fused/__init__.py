"""A decoder layer's operations as kernels in Triton, each of which goes over its memory once."""
