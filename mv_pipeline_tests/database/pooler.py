"""What stands between a client and PostgreSQL and behaves like PgBouncer in one respect, on a real server."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102


def _read(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = source.recv(size - len(data))
        if not chunk:
            raise ConnectionError
        data += chunk
    return data


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _serve(client: socket.socket, server: Path, ignores_options: bool) -> None:
    with contextlib.suppress(OSError), client, socket.socket(socket.AF_UNIX) as upstream:
        while True:
            (size,) = struct.unpack("!i", _read(client, 4))
            body = _read(client, size - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code in (_SSL_REQUEST, _GSS_REQUEST):
                client.sendall(b"N")
                continue
            if code == _CANCEL_REQUEST:
                return
            break
        words = body[4:].rstrip(b"\0").split(b"\0")
        parameters = dict(zip(words[::2], words[1::2], strict=False))
        if parameters.pop(b"options", b"") and not ignores_options:
            fields = (b"SFATAL", b"VFATAL", b"C08P01", b"Munsupported startup parameter: options", b"")
            client.sendall(_message(b"E", b"\0".join(fields) + b"\0"))
            return
        upstream.connect(str(server / ".s.PGSQL.5432"))
        packet = body[:4] + b"".join(name + b"\0" + value + b"\0" for name, value in parameters.items()) + b"\0"
        upstream.sendall(struct.pack("!i", len(packet) + 4) + packet)
        threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
        while True:
            kind = _read(upstream, 1)
            (size,) = struct.unpack("!i", _read(upstream, 4))
            content = _read(upstream, size - 4)
            if kind == b"K":  # the number of a session of the pooler's own
                content = struct.pack("!i", 1) + content[4:]
            client.sendall(_message(kind, content))


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def pooler(server: Path, *, ignores_options: bool) -> Iterator[int]:
    """Listen on a port, as PgBouncer does in front of the server whose socket is in that folder.

    Args:
        ignores_options: as with `ignore_startup_parameters = options`; without it, PgBouncer refuses them.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    arguments = (client, server, ignores_options)
                    threading.Thread(target=_serve, args=arguments, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
