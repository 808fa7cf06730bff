"""What an update minimises: the formulas of `algorithm` on the steps of a policy."""
