"""What `make check-deploy` runs: the deployment's files, held against the real programs."""
