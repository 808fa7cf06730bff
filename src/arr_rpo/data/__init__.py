"""Prompts from files in real formats, and batches of them that resume where they stopped."""
