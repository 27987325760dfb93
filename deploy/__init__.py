"""How to run the platform: container, chart, load balancers, local runs."""
