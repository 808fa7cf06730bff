"""Numbers into gradients: pure functions of tensors, one formula of one paper each."""
