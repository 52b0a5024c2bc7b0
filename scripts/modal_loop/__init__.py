"""What scripts/modal-preflight.sh, modal-deploy.sh and modal-diagnose.sh do; it needs modal and nothing else."""
