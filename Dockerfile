# The one image: ComfyUI, its Python packages and comfyport. No model weights: they are fetched when it starts.
#
#     docker build -t comfyport .                             for GPUs; CUDA 13, a driver of 580 or newer
#     docker build -t comfyport --build-arg TORCH=cu128 .     for GPUs; CUDA 12.8
#     docker build -t comfyport --build-arg TORCH=cpu .       without a GPU
#
# docs/image.md says what is in it and why. Modal builds from this file too (modal.Image.from_dockerfile), so it keeps to
# what Modal's builder takes: no flags on COPY but --from, no variables in its sources or in FROM, no bind mounts, no
# STOPSIGNAL, VOLUME, ONBUILD, EXPOSE or LABEL (docker-bake.hcl has the labels).

# What every stage stands on, and what changes least: Debian with Python and git.
FROM debian:trixie-slim AS system
# ffmpeg is left out: ComfyUI reads and writes video through PyAV. Nodes that run the program: APT_PACKAGES=ffmpeg.
ARG APT_PACKAGES=""
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends \
		ca-certificates git libgl1 libglib2.0-0t64 python3 tini ${APT_PACKAGES} \
	# libgl1 is there for cv2 to load; the software renderer behind it (200 MB) is never used.
	&& rm -rf /var/lib/apt/lists/* /usr/lib/*/libLLVM* /usr/lib/*/libgallium* \
	# A named volume takes this folder's mode, so that a container that is not root can use it.
	&& mkdir --mode 1777 /data


# What installs and is not needed afterwards.
FROM system AS tools
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && python3 -m venv /opt/tools
# Names where a proxy's certificates and another index are mounted or found, here and below; none is kept in the image.
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY image/tools.lock /opt/
RUN /opt/tools/bin/pip install --no-cache-dir --require-hashes --requirement /opt/tools.lock


# ComfyUI's source, and in COMFYUI_VERSION=emulated, which tests all but ComfyUI and torch, its emulator.
FROM tools AS comfyui
ARG COMFYUI_REPOSITORY=https://github.com/Comfy-Org/ComfyUI.git
ARG COMFYUI_VERSION=0.3.64
# A commit, for what has no version yet; it is looked for on the default branch.
ARG COMFYUI_COMMIT=""
ARG GIT_SSL_CAINFO
# Without VIRTUAL_ENV comfy-cli makes an environment of its own.
RUN if [ "${COMFYUI_VERSION}" != emulated ]; then \
		VIRTUAL_ENV=/opt/tools /opt/tools/bin/comfy --skip-prompt --no-enable-telemetry --workspace /opt/ComfyUI install \
			--url "${COMFYUI_REPOSITORY}" --nvidia --skip-manager --skip-torch-or-directml --skip-requirement \
			--version ${COMFYUI_COMMIT:+nightly --commit} "${COMFYUI_COMMIT:-${COMFYUI_VERSION}}" \
		&& cd /opt/ComfyUI && rm -rf .git .github .ci tests tests-unit script_examples; \
	fi
COPY emulators /opt/emulators
RUN if [ "${COMFYUI_VERSION}" = emulated ]; then \
		mkdir /opt/ComfyUI && cd /opt/ComfyUI && mkdir custom_nodes && cp -r /opt/emulators . \
		&& ln -s emulators/comfyui/main.py . && printf '%s\n' aiohttp pillow pyyaml safetensors > requirements.txt; \
	fi


# comfyport as a wheel.
FROM tools AS comfyport
COPY LICENSE README.md models.lock.json pyproject.toml /opt/comfyport/
COPY src /opt/comfyport/src
RUN cd /opt/comfyport && /opt/tools/bin/hatchling build --target wheel


# The image, layer by layer, from what changes least to what changes most.
FROM system
COPY --from=tools /opt/tools/bin/uv /usr/local/bin/
ENV VIRTUAL_ENV=/opt/venv
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Compiled bytecode halves ComfyUI's start.
ENV UV_COMPILE_BYTECODE=1
ENV UV_NO_CACHE=1
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX

# cu130 and cu128 name a lock (scripts/lock-image.sh makes others): the three of one CUDA line, with its libraries, so
# that no CUDA base image is needed. cpu takes Debian's torch; none is for the emulator of ComfyUI.
ARG TORCH=cu130
ARG TORCH_INDEX_URL=""
# true keeps triton and adds the C compiler without which it does nothing, for torch.compile and SageAttention.
ARG TRITON=false
COPY image/install-torch.sh image/torch-cu128.lock image/torch-cu130.lock /opt/comfyport/
RUN /opt/comfyport/install-torch.sh
ENV PIP_CONSTRAINT=/opt/comfyport/constraints.txt
ENV UV_CONSTRAINT=/opt/comfyport/constraints.txt

COPY image/worker.lock /opt/comfyport/
RUN uv pip install --no-deps --require-hashes --requirement /opt/comfyport/worker.lock

COPY image/comfyui.lock image/smoke-test.sh /opt/comfyport/
COPY --from=comfyui /opt/ComfyUI /opt/ComfyUI
RUN uv pip install --constraint /opt/comfyport/comfyui.lock --override /opt/comfyport/overrides.txt \
		--requirement /opt/ComfyUI/requirements.txt \
	# The pictures of the gallery of templates, and what a debugger of the user interface reads: 100 MB.
	&& find /opt/venv/lib \( -path '*/comfyui_workflow_templates/*.webp' -o -path '*/comfyui_frontend_package/*.map' \) -delete \
	&& python -m compileall -q /opt/ComfyUI \
	&& /opt/comfyport/smoke-test.sh

COPY --from=comfyport /opt/comfyport/dist /opt/comfyport/dist
RUN uv pip install --no-deps /opt/comfyport/dist/*.whl
COPY src/download-models.sh src/handler.py src/start.sh /

ENV COMFYPORT_LOCK=/models.lock.json
COPY models.lock.json nodes.lock.json /
COPY recipes /recipes
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG GIT_SSL_CAINFO
RUN if grep --quiet '"name"' /nodes.lock.json; then \
		comfyport nodes bake \
		# What does not compile (a node's template, a test of its own) is named, and left as it is.
		&& { python -m compileall -q /opt/ComfyUI/custom_nodes || true; } \
		&& /opt/comfyport/smoke-test.sh; \
	fi

# A first start that downloads may take longer than the 7 minutes after which RunPod gives a worker up.
ENV RUNPOD_INIT_TIMEOUT=3600
# tini reaps what ends and hands a stop signal to the whole group; -s because Modal starts it as a child.
ENTRYPOINT ["tini", "-s", "-g", "--", "/start.sh"]
