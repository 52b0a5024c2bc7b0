"""RunPod serverless on loopback: one queue-based endpoint, for real workers and real clients.

    with RunPodEmulator() as platform:
        start_my_worker(platform.environment())
        print(platform.wait(platform.submit({"prompt": "a cat"})))

It plays `https://api.runpod.ai/v2/{endpoint}/…`: the job API of the worker SDK and the API of clients, both as
runpod-python 1.12.0 speaks them. The tests hold it against that SDK: workers in processes of their own under
`runpod.serverless.start`, clients through `runpod.Endpoint`. Nothing was compared with the live service.

Taken from the SDK's source and seen with the real SDK:
- job-take, job-take-batch and job-stop are long polls; 204 means nothing came, 429 makes the SDK pause for 5 s.
- Results come as JSON text under a form's content type. `error` fails a job; `refresh_worker` comes as `stopPod`.
- After a 500 the SDK posts a result again, three times in all. After a 400 or a cut connection it does not, and
  the result is lost. A cancelled or timed-out handler gets CancelledError and posts no result.
- Progress goes to job-done with status IN_PROGRESS and can come after the result.
- A failed fitness check is reported as an unhealthy ping before the worker exits with 1.
- A worker that got SIGTERM leaves when its long polls return.

Taken from RunPod's documentation:
- The operations, their forms and the job states; webhooks with two more tries, 10 s apart.
- Policies: 600 s to run, from 5 s to 7 days; 24 h to live from the submit on, running or not, then 404.
- Results are kept for 30 minutes (`/run`) or 1 minute (`/runsync`); `?wait=` is 1 to 300 s, 90 s if not given.

Reported by users of the live service:
- Six worker counts in `/health`; `workerId` in `/status`; no RUNNING state (runpod/docs#511).
- A request body over 10 MiB (`/runsync`: 20 MiB) gives 400 with `exceeded max body size of 10MiB`.
- Out of execution time gives the error `executionTimeout exceeded`.
- A progress update after the result can put the job back for good (runpod-python#250): here only as a fault.
- A result for a forgotten job gives 404 (runpod-python#56).

Not known, and decided here:
- How long polls are held (`poll_seconds`); that a late report is answered 200; that cancelling a job which is
  over changes nothing; that purged jobs become CANCELLED; that webhooks are silent about cancelled jobs.
- A job whose result was refused (over 20 MB) or lost stays IN_PROGRESS until it times out. Users report 400s;
  some then saw COMPLETED without output (runpod-python#309).
- A worker gets `id`, `input`, `webhook` and `s3Config`; other fields of a request are dropped.
- After `stopPod` a worker id gets no jobs until all connections of its process are closed; the platform would
  end the process itself.
- `ready` in `/health` equals `idle`, as in the samples at hand.

Missing: scaling and cold starts; jobs given to another worker when theirs dies (they time out instead); rate
limits; `?ttl=` on `/status`; the split of chunks over 1 MB; load-balancing endpoints; the GraphQL API. The REST
API, which makes endpoints, is a room of its own: `emulators.runpod.rest`.
"""

from emulators.runpod.platform import RunPodEmulator

__all__ = ["RunPodEmulator"]
