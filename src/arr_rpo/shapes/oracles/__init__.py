"""What knows the truth of a picture of the world exactly: the oracle, as measure, as labels, as judge and as writer."""
