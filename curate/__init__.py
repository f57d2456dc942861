"""Turn raw public data into training shards for vision-language models."""

__version__ = "0.1.0"
