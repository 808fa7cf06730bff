"""The embedded world: scenes of coloured shapes, prompts and edits, and what can be asked of a picture, with its truth."""
