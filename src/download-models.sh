#!/usr/bin/env bash
# Fetch what models.lock.json asks for and the volume lacks. Arguments go to `comfyport models sync`.
set -Eeuo pipefail

exec comfyport models sync "$@"
