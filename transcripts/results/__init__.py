"""What came of a batch: two manifests and an archive, made while they are sent."""
