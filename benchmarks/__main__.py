"""`make bench`: start-up, whole processes and the search, each as medians of several runs beside a yardstick.

The yardsticks are runs of the same minute: the bare interpreter for processes, a plain loop over the same cost
functions for the search. So a table of one machine can be read on another.
"""

from __future__ import annotations

from benchmarks.processes import print_processes
from benchmarks.search import print_growth, print_rates

if __name__ == "__main__":
    print_processes()
    print_rates()
    print_growth()
