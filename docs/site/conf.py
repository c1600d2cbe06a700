"""The configuration of Sphinx for the output of docs.site: every warning is an error (`make docs`)."""

from planner import __version__

project = "planner"
author = copyright = "the authors of planner"
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"planner {__version__}"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

smartquotes = False  # --nodes has two hyphens
nitpicky = True
default_role = "code"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
