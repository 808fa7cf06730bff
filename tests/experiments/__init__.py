"""Experiments whose code computes something."""
