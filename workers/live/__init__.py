"""Live streaming: a customer's socket on one side, the upstream's on the other."""
