"""The data plane: a gateway process that answers predictions and needs the control plane only to learn what changed."""
