"""The emulator of Modal sees what leads out of a container when its memory snapshot is taken."""

import os
import socket
import subprocess
import sys

from emulators.modal.checkpoints import connected_to

CONNECT = (
    "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(flush=True); input()"
)


def test_a_connection_of_a_process_below_leads_out_and_one_within_does_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-c", CONNECT, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            accepted, _ = server.accept()

            out_of_the_child = connected_to(child.pid)
            out_of_us = connected_to(os.getpid())

            accepted.close()
            child.kill()

    assert out_of_the_child == [f"0100007F:{port:04X}"]
    assert f"0100007F:{port:04X}" not in out_of_us
