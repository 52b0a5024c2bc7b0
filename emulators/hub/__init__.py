"""Plays what comfyport downloads from: the Hugging Face Hub, Civitai, and plain file hosts.

Which part, and after which observation:

- Hub, file: `GET|HEAD /{owner}/{name}/resolve/{revision}/{file}`. LFS files are answered with 302 to a
  signed URL on another origin, and `X-Repo-Commit`, `X-Linked-Etag` (sha256), `X-Linked-Size`, `ETag` (git's
  id of the LFS pointer); small files with 200 and git's blob id as ETag. Headers and error codes
  (`X-Error-Code`, `X-Error-Message`) are those that huggingface_hub 2.4.0 reads; the words of the messages
  come from public bug reports of 2024 to 2026.
- Hub, API: `GET /api/models/{owner}/{name}[/revision/{revision}]`, with `?blobs=true`, and
  `GET /api/whoami-v2`. The list of a gated repository is public there, as it is on the Hub. A repository that was
  renamed answers 307 with its new name in a relative address; huggingface_hub follows just those.
- Civitai: `GET /api/v1/models/{id}`, `/api/v1/model-versions/{id}`, `/api/v1/model-versions/by-hash/{sha256}` and
  `/api/v1/me`; `GET /api/download/models/{id}` with 307 to a presigned URL that answers 400 to a second authorization;
  HEAD there gets 401 even with a good token; urllib's default name is turned away with 403 (all as several open-source
  downloaders and civitai issue 975 report it).
- CDN and file host: single ranges, `If-Range`, `If-Match`, `If-None-Match`, 206, 416 by RFC 9110.
- Faults by name (`emulators.hub.faults`): what downloaders met in the wild.

Checked: the Hub's part is driven with the real huggingface_hub 2.4.0 in its tests; the upscaler of the
quickstart was loaded and run with spandrel 0.4.2 and in ComfyUI 0.3.64. Civitai's part follows its
documentation and public reports only.

Left out: the Xet protocol (no `X-Xet-Hash` is sent, so clients take plain HTTP), the 307 to
`/api/resolve-cache` that the Hub gives for some small files, TLS, datasets, spaces, listing by tree, uploads,
search. One thing differs on purpose: 401 for a missing or private repository carries
`X-Error-Code: RepoNotFound`, because huggingface_hub recognises such an answer without it on https only.
"""

from emulators.hub.content import BytesContent, Content, FileContent, SparseContent
from emulators.hub.emulator import HubEmulator
from emulators.hub.faults import FAULT_NAMES, Fault, FaultMix, FaultName
from emulators.hub.quickstart import (
    WeightFile,
    quickstart_catalogue,
    quickstart_civitai,
    quickstart_files,
    quickstart_repos,
)
from emulators.hub.records import RequestRecord
from emulators.hub.shelves import CivitaiFile, CivitaiVersion, Repo

__all__ = [
    "FAULT_NAMES",
    "BytesContent",
    "CivitaiFile",
    "CivitaiVersion",
    "Content",
    "Fault",
    "FaultMix",
    "FaultName",
    "FileContent",
    "HubEmulator",
    "Repo",
    "RequestRecord",
    "SparseContent",
    "WeightFile",
    "quickstart_catalogue",
    "quickstart_civitai",
    "quickstart_files",
    "quickstart_repos",
]
