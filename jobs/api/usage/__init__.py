"""/v1/usage: what a tenant has used and what its quotas leave."""
