#!/usr/bin/env python3
"""A right server of the file protocol (docs/protocol.md): 80 lines of code with Python's standard library alone.

    python3 examples/right.py 127.0.0.1:6666 files
    kolam check 127.0.0.1:6666

It keeps the promises of the protocol: half a file is never seen, names stay in the folder, memory does not follow the
size of a file, broken base64 is refused, a silent client is sent away. What it leaves out: STATS, a limit on the size
of a file and on the number of clients (each has a thread), what a killed server leaves (.upload-…), and speed: Python
runs one thread at a time, and a file that arrives is written twice, as text and decoded.
"""

import base64, collections, contextlib, json, os, re, socketserver, sys, tempfile

END = b"\r\n\r\n"
PIECE = 48 * 1024  # bytes of a file that are in memory; a multiple of 3, so that no piece but the last is padded
UPLOAD = re.compile(rb'upload[ \t]+("(?:\\.|[^"\\])*"|[^\s"]\S*)[ \t]', re.IGNORECASE)
# Parts of a path, such as ../../etc/passwd, which must not leave the folder; control characters; bytes not in UTF-8.
NOT_IN_NAMES = re.compile(r"^$|^\.|[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def name_of(word):
    """The name in a request, without its quotes."""
    if word.startswith(b'"'):
        word = re.sub(rb"\\(.)", rb"\1", word.removeprefix(b'"').removesuffix(b'"'))
    name = word.decode()
    # A link could lead out of the folder, and a pipe could be waited for.
    strange = os.path.lexists(name) and (os.path.islink(name) or not os.path.isfile(name))
    if strange or NOT_IN_NAMES.search(name) or len(word) > 255:
        raise ValueError(f"not the name of a file: {name}")
    return name


def decoded(text, last):
    """A file has one text only: encoding again finds foreign symbols, wrong padding and bits left over."""
    content = base64.b64decode(text)
    if base64.b64encode(content) != text or b"=" in text and not last:
        raise ValueError("invalid base64")
    return content


class Client(socketserver.StreamRequestHandler):
    timeout = 60  # seconds that a client may be silent
    disable_nagle_algorithm = True

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError):  # there is no client to tell
            while line := self.rfile.readline(8192):  # the most that verb and name may have
                try:
                    reply = self.answer(line)
                except (ValueError, FileNotFoundError) as error:  # the client has asked for something wrong
                    reply = {"status": "ERROR", "data": str(error)}
                if reply:
                    self.wfile.write(json.dumps(reply).encode() + END)

    def answer(self, line):
        """The reply to the request that begins with this line. An empty line, such as the second of END, has none."""
        if head := UPLOAD.match(line):
            return self.upload(head[1], line[head.end():])
        if not line.endswith(b"\n"):
            collections.deque(self.pieces(line), maxlen=0)  # reads to the END, and keeps nothing
            raise ValueError("request too long")
        verb, word = (line.split(None, 1) + [b"", b""])[:2]
        match verb.upper():
            case b"LIST":
                files = [entry.name for entry in os.scandir() if entry.is_file(follow_symlinks=False)]
                return {"status": "OK", "data": sorted(name for name in files if not NOT_IN_NAMES.search(name))}
            case b"GET" | b"DELETE" as known:
                return getattr(self, known.decode().lower())(name_of(word.strip()))
            case unknown if unknown:
                raise ValueError("request tidak dikenali")

    def get(self, name):
        with open(name, "rb") as file:
            self.wfile.write(b'{"status":"OK","data_namafile":%s,"data_file":"' % json.dumps(name).encode())
            while piece := file.read(PIECE):
                self.wfile.write(base64.b64encode(piece))
            self.wfile.write(b'"}' + END)

    def delete(self, name):
        os.unlink(name)
        return {"status": "OK", "data": f"{name} deleted successfully", "data_namafile": name}

    def upload(self, word, text):
        # Under another name until it is whole. Whatever goes wrong, the old file stays, and the new one goes.
        with tempfile.TemporaryDirectory(prefix=".upload-", dir=".") as folder:
            with open(f"{folder}/text", "w+b") as received, open(f"{folder}/file", "wb") as file:
                # All of the text is received, also when it will be refused.
                for piece in self.pieces(text):
                    received.write(piece.translate(None, b" \t\r\n"))
                received.write(b"=" * (-received.tell() % 4))
                received.seek(0)
                while text := received.read(PIECE // 3 * 4):
                    file.write(decoded(text, last=not received.peek(1)))
            os.replace(file.name, name := name_of(word))
        return {"status": "OK", "data": f"{name} uploaded successfully", "data_namafile": name}

    def pieces(self, text):
        """What a request has up to its END: lines, or parts of a long line, so the END is the end of a piece."""
        last = b""
        while (last := (last + text)[-4:]) != END:
            if not text:
                raise ConnectionError("the stream ended in the middle of a request")
            yield text
            text = self.rfile.readline(PIECE)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


host, port = sys.argv[1].split(":")
os.chdir(sys.argv[2])
with Server((host, int(port)), Client) as server, contextlib.suppress(KeyboardInterrupt):
    print("listening on {}:{}".format(*server.server_address), flush=True)
    server.serve_forever()
