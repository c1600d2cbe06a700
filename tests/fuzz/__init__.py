"""Damaged files for every reader: each ends in an answer or in one message, in a bounded time and memory.

`make fuzz N=100000` runs that many inputs a reader; a few thousand of the same run with the usual tests. An own
mutator and not a coverage-guided one: an input is made from a seed and its number alone, so that a run is the same
everywhere and one input can be made again by its number.
"""
