"""Hands a job's outputs over: in the answer, in a bucket, or on the volume."""
