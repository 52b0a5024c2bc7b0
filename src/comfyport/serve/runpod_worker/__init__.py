"""The RunPod door: jobs come through RunPod's SDK, at a pace of our own where the SDK is one that we know."""
