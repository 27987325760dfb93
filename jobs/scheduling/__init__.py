"""Which job runs next and where: claims, fairness, leases, dispatch."""
