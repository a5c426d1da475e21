#!/usr/bin/env python3
"""A client of amsd in Python's standard library alone, to be read and copied from.

    ams.py send NAME TEXT...   sends, waits until it is delivered, prints the message's state
    ams.py recv [READER]       prints what arrives, each message acknowledged after it was printed
    ams.py echo [READER]       a bot: answers every message with its own text

Every call is one line of JSON-RPC 2.0 on the daemon's socket, and so is its answer. All methods are
in `amsctl call rpc.discover`.
"""

import itertools
import json
import os
import pathlib
import socket
import sys


class Failed(Exception):
    """The daemon refused: `kind` is a stable word, `exit` the exit code of amsctl for it."""

    def __init__(self, error):
        data = error.get("data") or {}
        super().__init__(error["message"])
        self.kind = data.get("kind")
        self.hint = data.get("hint")
        self.exit = data.get("exit", 1)


class Daemon:
    """A connection to amsd. One call at a time; a program that does more opens several."""

    def __init__(self, path=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path or default_socket()))
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.ids = itertools.count(1)

    def call(self, method, **params):
        """Calls a method and returns its result, or raises Failed."""
        number = next(self.ids)
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.socket.sendall(json.dumps(call).encode() + b"\n")
        for line in self.lines:
            answer = json.loads(line)
            if answer.get("id") != number and "error" not in answer:
                continue
            if "error" in answer:
                raise Failed(answer["error"])
            return answer["result"]
        raise ConnectionError("amsd closed the connection")

    def messages(self, reader):
        """Every message that this reader has not had. It is acknowledged when the next one is asked
        for: one whose work failed in between comes again, and none is lost."""
        while True:
            batch = self.call("inbox.next", reader=reader, max=1, wait="10m")
            for message in batch["messages"]:
                yield message
                self.call("inbox.ack", reader=reader, cursor=batch["cursor"])


def default_socket():
    home, runtime = os.environ.get("AMS_HOME"), os.environ.get("XDG_RUNTIME_DIR")
    if home:
        return pathlib.Path(home, "amsd.sock")
    if runtime and os.path.isabs(runtime):
        return pathlib.Path(runtime, "ams", "amsd.sock")
    return pathlib.Path(os.environ.get("TMPDIR") or "/tmp", f"ams-{os.geteuid()}", "amsd.sock")


def main(arguments):
    match arguments:
        case ["send", name, *words] if words:
            text = " ".join(words)
            sent = Daemon().call("message.send", to=name, body=text, wait="delivered", timeout="30s")
            print(sent["state"])
            return sent["exit"]
        case ["recv", *reader] if len(reader) <= 1:
            for message in Daemon().messages(*reader or ["ams.py"]):
                # As JSON: what somebody else wrote is not for a terminal as it is.
                print(json.dumps({"from": message["from"], "body": message["body"]}), flush=True)
        case ["echo", *reader] if len(reader) <= 1:
            inbox, outbox = Daemon(), Daemon()
            for message in inbox.messages(*reader or ["echo-bot"]):
                # The answer's id is made of the question's: if this is interrupted before the
                # acknowledgement, the same answer is not sent twice.
                answer = message["id"][::-1]
                body, question = message["body"], message["id"]
                try:
                    outbox.call("message.send", to=message["contact"], body=body, id=answer, reply_to=question)
                except Failed as failed:
                    # Nobody to answer any more: that is no reason to stop.
                    print(f"ams.py: {failed} ({failed.kind})", file=sys.stderr)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failed:
        print(f"ams.py: {failed}\n  {failed.hint}", file=sys.stderr)
        sys.exit(failed.exit)
    except OSError as error:
        print(f"ams.py: cannot reach amsd: {error}", file=sys.stderr)
        sys.exit(11)
    except KeyboardInterrupt:
        sys.exit(130)
