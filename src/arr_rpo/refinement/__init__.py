"""Generate, criticise, refine: better pictures of a prompt at test time, without an update of the policy."""
