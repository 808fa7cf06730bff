"""Pictures for the scorers of public benchmarks, in the folders that they expect, and what a judge of ours says of them."""
