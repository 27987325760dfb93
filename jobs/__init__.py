"""What work there is and its state: tenants, jobs, batches, quotas, claims."""
