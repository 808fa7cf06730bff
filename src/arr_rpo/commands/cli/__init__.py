"""How any command starts and ends: `--help`, what is misspelt, secrets, errors, and what libraries say in between."""
