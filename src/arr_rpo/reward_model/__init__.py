"""A scalar reward model: a head on what a judge's vision-language model sees, learned from labelled pairs by Bradley-Terry."""
