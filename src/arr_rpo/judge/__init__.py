"""Judges: who answers. One small protocol, and the models behind it. Nothing here knows the policy."""
