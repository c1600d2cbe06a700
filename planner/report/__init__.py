"""Documents as reports, and reports as text: terminal, HTML, Markdown, CSV and the other formats."""
