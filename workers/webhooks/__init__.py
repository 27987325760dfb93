"""Webhooks: endpoints, messages, signatures, deliveries and retries."""
