// Every image that is published, with its tags, labels, SBOM and provenance. Labels are here and not in the Dockerfile
// because Modal's builder does not know them.
//
//     docker buildx bake --file docker-bake.hcl                the image for GPUs, CUDA 13
//     docker buildx bake --file docker-bake.hcl all            all three
//     VERSION=0.1.0 docker buildx bake --file docker-bake.hcl all --push
//
// Without --file, bake reads compose.yaml as well.

variable "REGISTRY" {
  default = "comfyport"
}

variable "VERSION" {
  default = "dev"
}

variable "REVISION" {
  default = ""
}

// The address of the repository that it is built from.
variable "SOURCE" {
  default = ""
}

variable "CREATED" {
  default = ""
}

// Empty: as the Dockerfile has it.
variable "COMFYUI_VERSION" {
  default = ""
}

group "default" {
  targets = ["cu130"]
}

group "all" {
  targets = ["cu130", "cu128", "cpu"]
}

// The version's bare name and `latest` are the CUDA 13 image; every line has its own name beside them.
function "tags" {
  params = [line]
  result = [
    "${REGISTRY}:${VERSION}-${line}",
    line == "cu130" ? "${REGISTRY}:${VERSION}" : "",
    VERSION != "dev" ? "${REGISTRY}:${line}" : "",
    line == "cu130" && VERSION != "dev" ? "${REGISTRY}:latest" : "",
  ]
}

target "image" {
  context    = "."
  dockerfile = "Dockerfile"
  platforms  = ["linux/amd64"]
  args = {
    COMFYUI_VERSION = COMFYUI_VERSION != "" ? COMFYUI_VERSION : null
  }
  labels = {
    "org.opencontainers.image.title"       = "comfyport"
    "org.opencontainers.image.description" = "ComfyUI on any GPU cloud; it fetches its models when it starts."
    "org.opencontainers.image.licenses"    = "Apache-2.0 AND GPL-3.0-only"
    "org.opencontainers.image.source"      = SOURCE
    "org.opencontainers.image.version"     = VERSION
    "org.opencontainers.image.revision"    = REVISION
    "org.opencontainers.image.created"     = CREATED
    "org.opencontainers.image.base.name"   = "docker.io/library/debian:trixie-slim"
  }
  attest = ["type=sbom", "type=provenance,mode=max"]
}

// For drivers of 580 or newer.
target "cu130" {
  inherits = ["image"]
  tags     = tags("cu130")
  args     = { TORCH = "cu130" }
}

// For drivers of 525 or newer, and for GPUs that CUDA 13 has dropped.
target "cu128" {
  inherits = ["image"]
  tags     = tags("cu128")
  args     = { TORCH = "cu128" }
}

// To try things without a GPU.
target "cpu" {
  inherits = ["image"]
  tags     = tags("cpu")
  args     = { TORCH = "cpu" }
}
