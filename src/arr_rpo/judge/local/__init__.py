"""The judge's model in this process: loading it, what it reads, and the probabilities of its answer tokens."""
