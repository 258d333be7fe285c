"""The BEAM's side of the protocol, on a pyzmq ROUTER and with a real worker process.

It reads and writes bodies with msgpack alone, so that the worker's codec has no part in
judging itself.
"""

from __future__ import annotations

import os
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, Callable

import msgpack
import zmq

PYTHON = Path(__file__).parent.parent / "priv" / "python"
BOOTSTRAP = PYTHON.parent / "programs" / "bootstrap.py"
DEADLINE_MS = 30_000  # only reached on deadlock

CALL, EVAL, EXEC, RUN, SETUP = 0x01, 0x02, 0x03, 0x04, 0x05
HELLO, READY, FAILED, RESULT, ERROR, CANCELLED = 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
STREAM_CALL, STREAM_EVAL, PULL, CLOSE, OPENED = 0x06, 0x07, 0x08, 0x09, 0x1C
OUTPUT, LOG = 0x1D, 0x1E
FLUSH, FLUSHED, STACKS, STACKED, MOVE = 0x24, 0x33, 0x25, 0x34, 0x26
CALLBACK, CAST, SEND, SERVICE, ANSWER, ANSWER_ERROR = 0x18, 0x19, 0x1A, 0x1B, 0x0A, 0x0B
DETACHED, KEPT = 0x17, 0x1F
NESTED = 0x40
CANCEL, PING, SHUTDOWN, CANCEL_ACK, PONG = 0x21, 0x22, 0x23, 0x31, 0x32


class Message:
    def __init__(self, frames: list[bytes], channel: str = "") -> None:
        head = frames[0]
        self.channel = channel
        self.type = head[0] & 0x7F
        self.id = struct.unpack(">Q", head[1:9])[0]
        self.raw = head[9:]
        self.buffers = frames[1:]
        assert bool(head[0] & 0x80) == bool(self.buffers)

    @property
    def body(self) -> Any:
        return msgpack.unpackb(self.raw, strict_map_key=False) if self.raw else None

    @property
    def error(self) -> tuple[str, Any]:
        assert self.type == ERROR, self
        kind, payload = self.body
        return kind, payload

    def __repr__(self) -> str:
        return f"<{self.type:#x} {self.id} {self.raw[:200]!r} +{len(self.buffers)}>"


class Callback:
    """A CALLBACK or a SERVICE, which waits for its answer."""

    def __init__(self, message: Message) -> None:
        assert message.type in (CALLBACK, SERVICE), message
        self.message = message
        self.type, self.id, self.channel = message.type, message.id, message.channel
        self.body, self.buffers = message.body, message.buffers
        self.parent, self.function, self.args, *rest = self.body
        self.kwargs = rest[0] if rest else None


class Failure:
    """A decoded exception."""

    def __init__(self, marked: list[Any]) -> None:
        mark, self.type, self.message, self.frames, cause, self.relation, *rest = marked
        assert mark == msgpack.ExtType(35, b"")
        self.notes, self.formatted = rest
        self.cause = None if cause is None else Failure(cause)


class Peer:
    def __init__(
        self,
        python: str = sys.executable,
        runtime: str = "",
        channels: str = "direct",
        **popen: Any,
    ) -> None:
        self._channels = channels
        self._folder = tempfile.TemporaryDirectory(prefix="ep")
        self._runtime = runtime or f"{self._folder.name}/runtime"
        self._context = zmq.Context()
        self.router = self._context.socket(zmq.ROUTER)
        self.router.sndhwm = self.router.rcvhwm = 0  # a ROUTER drops what is over its limit
        self.router.router_mandatory = True
        self.endpoint = f"ipc://{self._folder.name}/s"
        self.router.bind(self.endpoint)
        self.token = secrets.token_hex(16)
        self.running = Path(self._folder.name) / "running"
        self.running.write_bytes(bytes(8 * 257))
        self._arrived: dict[str, deque[Message]] = defaultdict(deque)
        self._id = 0
        self.process = self._start(python, popen)

    def _start(self, python: str, popen: dict[str, Any]) -> subprocess.Popen[bytes]:
        env = {**os.environ, **popen.pop("env", {}), **self.environment()}
        popen.setdefault("stdin", subprocess.PIPE)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.STDOUT)
        command = popen.pop("command", [python, str(BOOTSTRAP)])
        return subprocess.Popen(command, env=env, **popen)

    def environment(self) -> dict[str, str]:
        return {
            "ERLANG_PYTHON_ENDPOINT": self.endpoint,
            "ERLANG_PYTHON_TOKEN": self.token,
            "ERLANG_PYTHON_RUNTIME": self._runtime,
            "ERLANG_PYTHON_RUNNING": str(self.running),
            "ERLANG_PYTHON_CHANNEL": self._channels,
        }

    def set_up(self, **setup: Any) -> Message:
        """Answer HELLO; gives READY or FAILED."""
        self.hello = self.receive()
        assert self.hello.type == HELLO
        body = {
            "paths": [],
            "preload": [],
            "max_message_size": 1 << 30,
            "worker": "test",
            "pool": ":default",
            "packages": "interpreter",
            "replay": [],
            "stdout": "logger",
            "stdin": "none",
            "bars": False,
            "reload": "manual",
        }
        self.send(SETUP, 0, {**body, **setup})
        return self.receive()

    # Messages

    def send(self, kind: int, number: int, body: Any = None, buffers: Any = (), **kw: Any) -> None:
        packed = kw["raw"] if "raw" in kw else b"" if body is None else msgpack.packb(body)
        kind |= 0x80 if buffers else 0
        self.send_frames(struct.pack(">BQ", kind, number) + packed, *buffers)

    def send_frames(self, *frames: bytes, channel: str = "") -> None:
        self.router.send_multipart([(self.token + channel).encode(), *frames])

    def receive(self, channel: str = "") -> Message:
        while not self._arrived[channel]:
            self._take_one()
        return self._arrived[channel].popleft()

    def _take_one(self) -> None:
        assert self.router.poll(DEADLINE_MS), f"nothing came; {self.process.poll()=}"
        sender, *frames = self.router.recv_multipart()
        channel = sender.decode()[len(self.token) :]
        self._arrived[channel].append(Message(frames, channel))

    def receive_from_any(self) -> Message:
        """The next message of the main channel or of a thread's."""
        return self._receive_from(lambda channel: channel != "/control")

    def receive_from_child(self) -> Message:
        """The next message of a child process."""
        return self._receive_from(
            lambda channel: channel.startswith("/c") and channel != "/control"
        )

    def _receive_from(self, wanted: Callable[[str], bool]) -> Message:
        while True:
            for channel, messages in self._arrived.items():
                if messages and wanted(channel):
                    return messages.popleft()
            self._take_one()

    def nothing_waits(self) -> bool:
        return not any(self._arrived.values()) and not self.router.poll(0)

    def control(self, kind: int, number: int, body: Any = None) -> None:
        packed = b"" if body is None else msgpack.packb(body)
        identity = (self.token + "/control").encode()
        message = [identity, struct.pack(">BQ", kind, number) + packed]
        end = time.monotonic() + DEADLINE_MS / 1_000
        while True:
            try:
                self.router.send_multipart(message)
                return
            except zmq.ZMQError as error:
                # By libzmq it is connected in its own time, whatever came on the main channel.
                if error.errno != zmq.EHOSTUNREACH or time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def cancel(self, number: int, interrupt: bool = True) -> str:
        self.control(CANCEL, number, interrupt)
        ack = self.receive("/control")
        assert (ack.type, ack.id) == (CANCEL_ACK, number)
        return str(ack.body)

    def ping(self, number: int = 5) -> dict[str, int]:
        self.control(PING, number)
        pong = self.receive("/control")
        assert (pong.type, pong.id) == (PONG, number)
        return dict(pong.body)

    # Callbacks

    def callback(self, function: str | None = None) -> Callback:
        """The next callback, or the next to that function, on whatever channel."""
        passed: list[Message] = []
        while True:
            call = Callback(self.receive_from_any())
            if function in (None, call.function):
                self._put_back(passed)
                return call
            passed.append(call.message)

    def _put_back(self, messages: list[Message]) -> None:
        for message in reversed(messages):
            self._arrived[message.channel].appendleft(message)

    def answer(
        self, call: Callback, value: Any = None, raw: bytes | None = None, buffers: Any = ()
    ) -> None:
        packed = msgpack.packb(value) if raw is None else raw
        kind = ANSWER | (0x80 if buffers else 0)
        self.send_frames(struct.pack(">BQ", kind, call.id) + packed, *buffers, channel=call.channel)

    def answer_error(self, call: Callback, body: Any) -> None:
        head = struct.pack(">BQ", ANSWER_ERROR, call.id)
        self.send_frames(head + msgpack.packb(body), channel=call.channel)

    def nest(self, call: Callback, kind: int, text: str, number: int = 0) -> int:
        """A request of the callback's own process."""
        return self.nest_body(call, kind, [text, None, None, 1, 0], number)

    def nest_body(self, call: Callback, kind: int, body: Any, number: int = 0) -> int:
        number = number or self.begin_id()
        packed = msgpack.packb(body)
        head = struct.pack(">BQ", kind | NESTED, number)
        self.send_frames(head + packed, channel=call.channel)
        return number

    def beside(self, kind: int, text: str, **bindings: Any) -> int:
        """A request that can't wait for the main thread."""
        number = self.begin_id()
        self.control(kind, number, [text, bindings or None, None, 1, 0])
        return number

    # Requests

    def begin_id(self) -> int:
        self._id += 1
        return self._id

    def begin(self, kind: int, body: Any, buffers: Any = ()) -> int:
        number = self.begin_id()
        self.send(kind, number, body, buffers)
        return number

    def end(self, number: int) -> Message:
        message = self.receive()
        # Of one before it, whose end has come on the channel of its loop already.
        while message.type == DETACHED and message.id < number:
            message = self.receive()
        assert message.id == number, message
        return message

    def request(self, kind: int, body: Any, buffers: Any = ()) -> Message:
        return self.end(self.begin(kind, body, buffers))

    def call(self, module: str, function: str, *args: Any, face: int = 0, **kwargs: Any) -> Message:
        return self.request(CALL, [module, function, list(args), kwargs or None, face])

    def code(self, kind: int, text: str, face: int = 0, **bindings: Any) -> Message:
        return self.request(kind, [text, bindings or None, None, 1, face])

    def begin_code(self, kind: int, text: str) -> int:
        return self.begin(kind, [text, None, None, 1, 0])

    def value(self, text: str, **bindings: Any) -> Any:
        """The value of an expression or of statements."""
        message = self.code(RUN, text, **bindings)
        assert message.type == RESULT, message
        return message.body

    def failure(self, text: str, kind: int = EXEC) -> Failure:
        name, payload = self.code(kind, text).error
        assert name == "python", (name, payload)
        return Failure(payload)

    # Processes

    def wait_line(self, expected: bytes) -> None:
        """Wait until the worker has printed a line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == expected + b"\n", line

    def descriptors(self) -> int:
        """How many the worker has open."""
        return int(self.value("len(__import__('os').listdir('/dev/fd'))"))

    def settles(self, holds: Callable[[], bool]) -> bool:
        """Does it hold, once what ends in its own time has ended?"""
        deadline = time.monotonic() + DEADLINE_MS / 1_000
        while not holds():
            if time.monotonic() > deadline:
                return False
        return True

    def exit_status(self, within_s: float = 30) -> int:
        status = self.process.wait(within_s)
        if status < 0 and self.process.stdout is not None:
            # What it said before a signal ended it, for whoever did not expect that.
            os.set_blocking(self.process.stdout.fileno(), False)
            print((self.process.stdout.read() or b"").decode(errors="replace"))
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self._context.destroy(linger=0)
        self._folder.cleanup()
