"""The judge's model behind an OpenAI-compatible server: what is asked, how it travels, and what is kept of it."""
