"""What the code of trainers keeps in memory, with fake tensors, against the cost model: `make test-real`."""
