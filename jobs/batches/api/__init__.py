"""/v1/batches: submit, check, read and control batches."""
