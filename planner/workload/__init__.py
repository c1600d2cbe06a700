"""The workload: models from presets, Hugging Face configurations, sizes and files, as operators."""
