"""Opens ComfyUI's page on Modal to the browsers of this machine, at http://127.0.0.1:8188.

export COMFYPORT_PROXY_KEY=wk-... COMFYPORT_PROXY_SECRET=ws-...     # a proxy auth token, modal.com/settings
python scripts/modal_page.py https://WORKSPACE--comfyport-page-show.modal.run
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from comfyport.errors import ComfyportError, InvalidSetting
from comfyport.settings import ClientSettings


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the page's address, as `modal deploy` printed it")
    parser.add_argument("--port", type=int, default=8188, help="the port on this machine (8188)")
    options = parser.parse_args()
    import uvicorn

    from comfyport.serve.modal_service import near_page

    settings = ClientSettings.load()
    for name, value in (("KEY", settings.proxy_key), ("SECRET", settings.proxy_secret)):
        if not value:
            raise InvalidSetting(f"COMFYPORT_PROXY_{name}", "", "the page needs a proxy auth token of Modal's")
    app = near_page.build(options.url, key=settings.proxy_key, secret=settings.proxy_secret)
    sys.stderr.write(f"ComfyUI: http://127.0.0.1:{options.port}  (the first page waits for a GPU container)\n")
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    try:
        main()
    except ComfyportError as error:
        sys.exit(error.message)
