"""RunPod's REST API v2 on loopback: templates, serverless endpoints, network volumes, and the catalogue of GPUs.

    with RestEmulator(api_key="rpa_test") as platform:
        requests.get(f"{platform.url}/v2/serverless", headers={"Authorization": "Bearer rpa_test"})

It plays `https://api.runpod.io/v2`, as RunPod's OpenAPI document (version 2.0.0) describes it; `openapi.json` beside
this file is that document, trimmed. Every request is validated against it and refused with 422 and the reasons if it
does not fit, and every answer is validated before it is sent. Nothing was compared with the live service.

Taken from the document's prose, since a schema cannot say it:
- An endpoint that is made from a template gets a copy of its settings: later edits of the template do not reach it.
- `env` of template and request are merged when an endpoint is made; in a PATCH it replaces what was there.
- A floor of CUDA versions and a set of them exclude each other (400); a PATCH of one does not clear the other.
- `excludedTypes` goes with `pools` (400 if a type is in none of them); `pools` alone clears it.
- A queue-based endpoint that scales on its request count takes no `idleTimeout` (400) and shows none.
- Volumes only grow (400), and stay in their data centre.
- 404 for an id that is not known, 401 without the right key; errors are `application/problem+json` (RFC 9457).

Reported of the older API and played on request: the name of an endpoint with FlashBoot ends with ` -fb`.

Missing: deleting, pods, clusters, workers, releases, billing, permissions (403), prices that change.
"""

from emulators.runpod.rest.emulator import RestEmulator

__all__ = ["RestEmulator"]
