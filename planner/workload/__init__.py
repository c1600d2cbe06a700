"""What is trained: presets, Hugging Face configurations, bare sizes and own files, as operators."""
