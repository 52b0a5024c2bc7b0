"""What scripts/runpod-deploy.py does: a network volume, a template and an endpoint on RunPod, as they shall be."""
