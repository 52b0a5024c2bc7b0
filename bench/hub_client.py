"""Downloads files from a Hub with huggingface_hub, as many at once as its own `snapshot_download` does.

usage: hub_client.py FOLDER REPOSITORY REVISION FILE...
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from huggingface_hub import hf_hub_download

FILES_AT_ONCE = 8


def main() -> None:
    """Downloads what the arguments name."""
    folder, repository, revision, *files = sys.argv[1:]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        started = [
            pool.submit(hf_hub_download, repository, file, revision=revision, local_dir=folder) for file in files
        ]
        for download in started:
            download.result()


if __name__ == "__main__":
    main()
