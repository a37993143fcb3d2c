#!/usr/bin/env python3
"""Passes TCP connections on and flips bytes: fault_proxy.py LISTEN PORT EVERY HEADS SEED.

Listens on 127.0.0.1:LISTEN and passes on to 127.0.0.1:PORT. One byte in EVERY is another one, and of one piece in HEADS
that comes in one of the first nine, where messages say how long they are; 0: none. Its own connections carry the mark 1, so that a rule which
redirects those of others to it can leave them alone. Ends on SIGTERM and says what it did, as JSON.
"""
import asyncio
import json
import random
import signal
import socket
import sys

MARK = 1


class Flips:
    def __init__(self, every, heads, seed):
        self.every, self.heads, self.random_ = every, heads, random.Random(seed)
        self.bytes = self.flips = 0
        self.left = self.gap()  # bytes that come through as they are

    def gap(self):
        return int(self.random_.expovariate(1 / self.every)) if self.every else 1 << 60

    def flip(self, data, at):
        data[at] ^= self.random_.randint(1, 255)
        self.flips += 1

    def __call__(self, data):
        self.bytes += len(data)
        changed = bytearray(data)
        at = self.left
        while at < len(changed):
            self.flip(changed, at)
            at += 1 + self.gap()
        self.left = at - len(changed)
        if self.heads and self.random_.random() < 1 / self.heads:
            self.flip(changed, self.random_.randrange(min(9, len(changed))))
        return bytes(changed)


async def pump(reader, writer, flips):
    try:
        while data := await reader.read(65536):
            writer.write(flips(data))
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(listen, port, every, heads, seed):
    flips, connections = Flips(every, heads, seed), 0
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        onward = socket.socket()
        onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        onward.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(onward, ("127.0.0.1", port))
        except ConnectionError:
            onward.close()
            writer.close()
            return
        there, back = await asyncio.open_connection(sock=onward)
        await asyncio.gather(pump(reader, back, flips), pump(there, writer, flips))

    server = await asyncio.start_server(serve, "127.0.0.1", listen)
    print("ready", flush=True)
    await done.wait()
    server.close()
    print(json.dumps({"bytes": flips.bytes, "flips": flips.flips, "connections": connections}), flush=True)


asyncio.run(main(*map(int, sys.argv[1:])))
