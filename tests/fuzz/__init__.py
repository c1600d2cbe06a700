"""Damaged files for every reader: each is read or refused in one message, in bounded time and memory.

`make fuzz N=100000` runs that many inputs of each reader; a few thousand of the same run with the usual tests. The
mutator is our own and not coverage-guided: an input depends only on a seed and its number, so that a run is the same
everywhere and a single input can be made from its number.
"""
