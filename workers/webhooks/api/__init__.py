"""/v1/webhook-endpoints and /v1/webhook-deliveries."""
