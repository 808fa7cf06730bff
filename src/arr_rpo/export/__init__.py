"""Trained weights as other programs load them, with a model card."""
