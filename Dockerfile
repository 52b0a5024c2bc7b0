# The one image: ComfyUI, its Python packages and comfyport. No model weights: they are fetched when it starts.
#
#     docker build -t comfyport .
#     docker run --gpus all -p 8000:8000 -v comfyport:/data comfyport
#
# Modal builds from this file too (modal.Image.from_dockerfile), so it keeps to what Modal's builder takes: no flags on
# COPY, no variables in its sources, no bind mounts, no STOPSIGNAL, VOLUME or ONBUILD.
FROM debian:trixie-slim

# ffmpeg and a compiler are left out: ComfyUI reads and writes video through PyAV. Name more packages if nodes need them.
ARG APT_PACKAGES=""
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends \
		ca-certificates git libgl1 libglib2.0-0t64 python3 python3-venv tini ${APT_PACKAGES} \
	# libgl1 is there for cv2 to load; the software renderer behind it (200 MB) is never used.
	&& rm -rf /var/lib/apt/lists/* /usr/lib/*/libLLVM* /usr/lib/*/libgallium* \
	&& python3 -m venv /opt/venv \
	&& python3 -m venv /opt/tools

# VIRTUAL_ENV tells comfy-cli which environment to install into; without it, it makes one of its own.
ENV VIRTUAL_ENV=/opt/venv
ENV PATH=/opt/venv/bin:/opt/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Compiled bytecode halves ComfyUI's start.
ENV UV_COMPILE_BYTECODE=1
ENV UV_LINK_MODE=copy

# The three must be of one CUDA line: from 2.11 on, CUDA 13, which needs a driver of 580 or newer. An index of
# PyTorch's own in TORCH_INDEX_URL gives other lines. They bring their CUDA libraries, so no CUDA base image is needed.
ARG TORCH_VERSION=2.11.0
ARG TORCHVISION_VERSION=0.26.0
ARG TORCHAUDIO_VERSION=2.11.0
ARG TORCH_INDEX_URL=""
COPY requirements.lock /opt/comfyport/
RUN /opt/tools/bin/pip install --no-cache-dir --no-deps $(grep --only-matching '^uv==[0-9.]*' /opt/comfyport/requirements.lock) \
	&& uv pip install --no-cache ${TORCH_INDEX_URL:+--index-url ${TORCH_INDEX_URL}} \
		torch==${TORCH_VERSION} torchvision==${TORCHVISION_VERSION} torchaudio==${TORCHAUDIO_VERSION} \
	# Whatever is installed later may not replace these.
	&& uv pip freeze > /opt/comfyport/constraints.txt \
	&& python -c "import torch, torchvision, torchaudio"

COPY pyproject.toml /opt/comfyport/
RUN uv pip install --no-cache --requirement /opt/comfyport/pyproject.toml --extra runpod \
		--constraint /opt/comfyport/requirements.lock --constraint /opt/comfyport/constraints.txt \
	&& VIRTUAL_ENV=/opt/tools uv pip install --no-cache --constraint /opt/comfyport/requirements.lock comfy-cli

ARG COMFYUI_REPOSITORY=https://github.com/Comfy-Org/ComfyUI.git
ARG COMFYUI_VERSION=0.3.64
RUN PIP_CONSTRAINT=/opt/comfyport/constraints.txt comfy --skip-prompt --no-enable-telemetry --workspace /opt/ComfyUI \
		install --url ${COMFYUI_REPOSITORY} --version ${COMFYUI_VERSION} --nvidia --skip-torch-or-directml --skip-manager \
	&& rm -rf /opt/ComfyUI/.git /root/.cache \
	&& python -m compileall -q /opt/ComfyUI \
	# ComfyUI ends with 0 even when nodes could not be imported; its log tells.
	&& python /opt/ComfyUI/main.py --cpu --quick-test-for-ci > /tmp/smoke.log 2>&1 \
	&& if grep --extended-regexp 'IMPORT FAILED|Traceback' /tmp/smoke.log; then cat /tmp/smoke.log; exit 1; fi \
	&& rm /tmp/smoke.log

COPY README.md LICENSE /opt/comfyport/
COPY src /opt/comfyport/src
RUN uv pip install --no-cache --no-deps /opt/comfyport \
	&& ln -s /opt/comfyport/src/start.sh /opt/comfyport/src/download-models.sh /opt/comfyport/src/handler.py /
COPY models.lock.json /

ENV COMFYPORT_LOCK=/models.lock.json
# A first start that downloads may take longer than the 7 minutes after which RunPod gives a worker up.
ENV RUNPOD_INIT_TIMEOUT=3600
EXPOSE 8000
# tini reaps what ends and hands a stop signal to the whole group; -s because Modal starts it as a child.
ENTRYPOINT ["tini", "-s", "-g", "--", "/start.sh"]
