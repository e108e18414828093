"""Kernels in C++ for the CPU: built where there is a compiler, used where the processor can run them.

Eager torch computes everything that these compute; it is what they are tested against.
"""
