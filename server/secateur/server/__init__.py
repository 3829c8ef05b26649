"""The control plane: gRPC services over the domain core and the store."""

import os

# gRPC reads it when it is imported, and would log every connection that does not speak TLS, in lines that are no JSON.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
