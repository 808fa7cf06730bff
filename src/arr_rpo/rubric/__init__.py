"""Rubrics: what is asked. Written by a judge model, parsed strictly, kept by content."""
