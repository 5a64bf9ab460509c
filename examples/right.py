#!/usr/bin/env python3
"""A right server of the file protocol (docs/protocol.md), with Python's standard library alone.

    python3 examples/right.py 127.0.0.1:6666 files
    kolam check 127.0.0.1:6666

It keeps every promise of the protocol: half a file is never seen, names stay in the folder, memory does not follow
the size of a file, broken base64 is refused, a silent client is sent away. What it leaves out: STATS, a limit on the
size of a file and on the number of clients (each has a thread), and speed: Python runs one thread at a time.
"""

import base64, binascii, contextlib, json, os, re, socket, socketserver, sys, tempfile

END = b"\r\n\r\n"
HEAD_LIMIT = 8192  # bytes of verb and name together
PIECE = 48 * 1024  # bytes of a file that are in memory; a multiple of 3, so that no piece but the last is padded
UPLOAD = re.compile(rb'upload[ \t]+("(?:\\.|[^"\\])*"|[^\s"]\S*)[ \t]', re.IGNORECASE)


class Refused(Exception):
    """Its text is the reason in an ERROR reply."""


def path_of(name):
    """A name is one part of a path, or it is refused: ../../etc/passwd must not leave the folder."""
    if not 1 <= len(name.encode()) <= 255 or name[0] == "." or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise Refused(f"invalid file name: {name}")
    return os.path.join(FOLDER, name)


def stored(name):
    """The path of a regular file that is there. A link could lead out of the folder."""
    path = path_of(name)
    if os.path.islink(path) or not os.path.isfile(path):
        raise Refused(f"file not found: {name}")
    return path


class Client(socketserver.StreamRequestHandler):
    timeout = 60  # seconds that a client may be silent
    wbufsize = 64 * 1024  # a small reply leaves in one piece: flush() sends it

    def handle(self):
        self.rest = b""  # received, and not used yet: what follows a request is the next one
        with contextlib.suppress(ConnectionError, TimeoutError):  # there is no client to tell
            while request := self.next_head():
                try:
                    reply = self.answer(*request)
                except (Refused, UnicodeDecodeError) as error:
                    reply = {"status": "ERROR", "data": str(error)}
                if reply:
                    self.wfile.write(json.dumps(reply).encode() + END)
                self.wfile.flush()

    def finish(self):
        with contextlib.suppress(OSError):  # of a client that has gone
            super().finish()

    def receive(self):
        """Appends what comes next. The end of the stream in the middle of a request ends the connection."""
        if not (piece := self.connection.recv(PIECE)):
            raise ConnectionError
        self.rest += piece

    def next_head(self):
        """Verb and name as the next request has them; of an UPLOAD, the content is still to come."""
        while True:
            self.rest = self.rest.lstrip(b"\r\n")
            upload = UPLOAD.match(self.rest)
            line, end, after = self.rest.partition(b"\n")
            if upload:
                self.rest = self.rest[upload.end():]
                return b"UPLOAD", upload[1]
            if end:
                self.rest = after
                verb, _, name = line.strip().partition(b" ")
                return verb.upper(), name.strip()
            if len(self.rest) > HEAD_LIMIT:
                return self.wfile.write(b'{"status":"ERROR","data":"request too long"}' + END)
            self.receive()

    def answer(self, verb, word):
        if word.startswith(b'"'):
            word = re.sub(rb"\\(.)", rb"\1", word.removeprefix(b'"').removesuffix(b'"'))
        if verb == b"LIST":
            names = [name for name in os.listdir(os.fsencode(FOLDER)) if not name.startswith(b".")]
            return {"status": "OK", "data": [os.fsdecode(name) for name in sorted(names)]}
        if verb not in (b"GET", b"UPLOAD", b"DELETE"):
            raise Refused("request tidak dikenali")
        if not word:
            raise Refused("missing file name")
        return getattr(self, verb.decode().lower())(word)

    def get(self, word):
        name = word.decode()
        with open(stored(name), "rb") as file:
            self.wfile.write(b'{"status":"OK","data_namafile":%s,"data_file":"' % json.dumps(name).encode())
            while piece := file.read(PIECE):
                self.wfile.write(base64.b64encode(piece))
            self.wfile.write(b'"}' + END)

    def delete(self, word):
        name = word.decode()
        os.unlink(stored(name))
        return {"status": "OK", "data": f"{name} deleted successfully", "data_namafile": name}

    def upload(self, word):
        # Under another name until it is whole. Whatever goes wrong, the old file stays, and the new one goes.
        with tempfile.NamedTemporaryFile(prefix=".upload-", dir=FOLDER, delete=False) as file:
            try:
                self.read_content(file)
                file.close()
                name = word.decode()
                os.replace(file.name, path_of(name))
            except BaseException:
                os.unlink(file.name)
                raise
        return {"status": "OK", "data": f"{name} uploaded successfully", "data_namafile": name}

    def read_content(self, file):
        """Writes the content as it comes, up to its END; if it is not base64, it is read all the same."""
        symbols, good, at = b"", True, -1
        while at < 0:
            at = self.rest.find(END)
            # END may have been cut in two: its first bytes stay.
            cut = at if at >= 0 else max(len(self.rest) - 3, 0)
            symbols += self.rest[:cut].translate(None, b" \t\r\n")
            self.rest = self.rest[cut:]
            # The last group may be padded, so it waits for the end.
            whole = len(symbols) if at >= 0 else max(len(symbols) - 1, 0) // 4 * 4
            group, symbols = symbols[:whole], symbols[whole:]
            if at >= 0:
                group += b"=" * (-len(group) % 4)
            good = good and write_decoded(file, group, last=at >= 0)
            if at < 0:
                self.receive()
        if not good:
            raise Refused("invalid base64")


def write_decoded(file, text, last):
    """False when the text is not the one base64 text of its bytes: foreign symbols, wrong padding, bits left over."""
    try:
        content = base64.b64decode(text)
    except binascii.Error:
        return False
    file.write(content)
    return base64.b64encode(content) == text and (last or b"=" not in text)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:6666").rpartition(":")
    FOLDER = sys.argv[2] if len(sys.argv) > 2 else "files"
    os.makedirs(FOLDER, exist_ok=True)
    with Server((host, int(port)), Client) as server:
        print("listening on {}:{}".format(*server.server_address), flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
