"""Reinforcement learning of diffusion models from a frozen judge that works from explicit rubrics."""

__version__ = "0.2.0"
