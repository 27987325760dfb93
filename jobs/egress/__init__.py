"""Which customer URLs the platform may connect to. Rules only, no network."""
