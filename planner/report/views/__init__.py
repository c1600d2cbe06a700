"""From a document to a report, one file a command."""
