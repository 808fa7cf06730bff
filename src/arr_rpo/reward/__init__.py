"""Verdicts into rewards. Nothing here looks at pixels: images go to the judge unopened."""
