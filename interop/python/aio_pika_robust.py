"""aio-pika's robust connection, which comes back by itself, and its patterns."""

import asyncio
import sys
from urllib.parse import urlsplit

import aio_pika
from aio_pika import Message
from aio_pika.patterns import RPC, Master

from checks import URL, run, unique


class Line:
    """A way to the broker that can be cut."""

    def __init__(self):
        self.ends = []

    async def open(self):
        """Starts listening; gives the URL of this end."""
        self.server = await asyncio.start_server(self.join, "127.0.0.1", 0)
        address = "%s:%d" % self.server.sockets[0].getsockname()
        return urlsplit(URL)._replace(netloc=f"guest:guest@{address}").geturl()

    async def join(self, reader, writer):
        broker = urlsplit(URL)
        far_reader, far_writer = await asyncio.open_connection(broker.hostname, broker.port)
        self.ends += [writer, far_writer]
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    def cut(self):
        for end in self.ends:
            end.transport.abort()
        self.ends = []


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def check_everything_is_declared_again_after_a_loss():
    line = Line()
    connection = await aio_pika.connect_robust(await line.open(), reconnect_interval=0.05)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(unique("robust"), "topic", auto_delete=True)
        queue = await channel.declare_queue(unique("robust"), exclusive=True)
        await queue.bind(exchange, "a.#")
        arrived = asyncio.Queue()
        await queue.consume(arrived.put, no_ack=True)
        await exchange.publish(Message(b"before"), "a.b")
        assert (await arrived.get()).body == b"before"

        back = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: back.set())
        line.cut()
        await back.wait()
        await channel.ready()
        await exchange.publish(Message(b"after"), "a.b")
        assert (await arrived.get()).body == b"after"


async def check_rpc_pattern():
    async with await aio_pika.connect_robust(URL) as connection:
        rpc = await RPC.create(await connection.channel())
        name = unique("multiply")

        async def multiply(*, x, y):
            return x * y

        await rpc.register(name, multiply, auto_delete=True)
        assert await rpc.call(name, {"x": 6, "y": 7}) == 42
        await rpc.unregister(multiply)


async def check_master_and_worker():
    async with await aio_pika.connect_robust(URL) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        master = Master(channel)
        name = unique("task")
        done = asyncio.Queue()

        async def work(*, number):
            await done.put(number)

        worker = await master.create_worker(name, work, auto_delete=True)
        for number in range(10):
            await master.create_task(name, {"number": number})
        assert [await done.get() for _ in range(10)] == list(range(10))
        await worker.close()


if __name__ == "__main__":
    run(sys.modules[__name__])
