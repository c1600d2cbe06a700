"""The source of the site of `make docs`: the pages of docs/, and a reference made from the code."""
