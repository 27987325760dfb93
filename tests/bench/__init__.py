"""The figures of the design, measured side by side in one run: `make bench`.

Never a timed test: what is judged are ratios and bounds, and a person reads the table.
"""
