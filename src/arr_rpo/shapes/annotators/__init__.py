"""People with tastes, what they say of pairs of pictures, and whether a rubric says what they like."""
