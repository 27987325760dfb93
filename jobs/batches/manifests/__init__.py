"""Manifest files (JSONL or CSV, optionally gzip): upload and parse."""
