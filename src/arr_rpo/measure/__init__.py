"""What held-out pictures are worth: by an oracle, by a scorer, or by a judge that compares them with the base's."""
