"""Runs of several processes, on this machine's CPU."""
