"""The algorithms: what an update minimises, as formulas on the steps of a policy, and the knobs of an update."""
