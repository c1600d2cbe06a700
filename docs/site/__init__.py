"""What `make docs` builds the site from: the pages of docs/, and a reference made from the code."""
