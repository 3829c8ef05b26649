"""The control plane: gRPC services over the domain core and the store."""
