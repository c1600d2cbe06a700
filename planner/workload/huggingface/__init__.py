"""Models described by Hugging Face's config.json."""
