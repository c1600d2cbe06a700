"""`python -m docs.site FOLDER`: write the source of the site."""

import sys
from pathlib import Path

from docs.site.source import write_site

write_site(Path(sys.argv[1]))
