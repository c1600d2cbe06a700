"""The command line. Only this package reads files, prints, and ends the process."""
