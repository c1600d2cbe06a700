"""Mutation tests: which small changes of the cost model and of the search the tests notice; `make mutate`."""
