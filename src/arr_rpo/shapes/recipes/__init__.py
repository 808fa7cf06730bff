"""How the embedded policies and the embedded judge were made."""
