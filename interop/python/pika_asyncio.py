"""pika's asyncio adapter, wrapped in futures as applications do."""

import asyncio
import sys

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from checks import URL, run, unique


async def connect():
    opened = asyncio.get_running_loop().create_future()
    connection = AsyncioConnection(
        pika.URLParameters(URL),
        on_open_callback=opened.set_result,
        on_open_error_callback=lambda _connection, error: opened.set_exception(error),
    )
    connection.closed_by = asyncio.get_running_loop().create_future()
    connection.add_on_close_callback(lambda _c, reason: connection.closed_by.set_result(reason))
    return await opened


async def call(operation, *arguments, **named):
    """The answer a method passes to its callback."""
    answer = asyncio.get_running_loop().create_future()
    operation(*arguments, callback=answer.set_result, **named)
    return await answer


async def open_channel(connection):
    opened = asyncio.get_running_loop().create_future()
    connection.channel(on_open_callback=opened.set_result)
    return await opened


async def close(connection):
    connection.close()
    await connection.closed_by


async def check_publish_and_consume():
    connection = await connect()
    channel = await open_channel(connection)
    queue = (await call(channel.queue_declare, "", exclusive=True)).method.queue
    arrived = asyncio.Queue()
    await call(channel.basic_qos, prefetch_count=5)
    channel.basic_consume(queue, lambda *delivery: arrived.put_nowait(delivery))
    for number in range(50):
        channel.basic_publish("", queue, str(number))
    for number in range(50):
        _channel, method, _properties, body = await arrived.get()
        assert int(body) == number, (body, number)
        channel.basic_ack(method.delivery_tag)
    await close(connection)


async def check_nack_and_reject():
    connection = await connect()
    channel = await open_channel(connection)
    queue = (await call(channel.queue_declare, "", exclusive=True)).method.queue
    arrived = asyncio.Queue()
    channel.basic_consume(queue, lambda *delivery: arrived.put_nowait(delivery))
    channel.basic_publish("", queue, "x")
    for attempt in range(3):
        _channel, method, _properties, _body = await arrived.get()
        assert method.redelivered == (attempt > 0), (attempt, method)
        if attempt == 0:
            channel.basic_nack(method.delivery_tag)
        else:
            channel.basic_reject(method.delivery_tag, requeue=attempt < 2)
    found = await call(channel.queue_declare, queue, passive=True)
    assert found.method.message_count == 0, found
    await close(connection)


async def check_confirms():
    connection = await connect()
    channel = await open_channel(connection)
    name = unique("asyncio")
    await call(channel.queue_declare, name, durable=True)
    confirmed = asyncio.Queue()
    await call(channel.confirm_delivery, confirmed.put_nowait)
    persistent = pika.BasicProperties(delivery_mode=2)
    for number in range(200):
        channel.basic_publish("", name, str(number), persistent)
    highest = 0
    while highest < 200:
        confirm = (await confirmed.get()).method
        assert isinstance(confirm, pika.spec.Basic.Ack), confirm
        highest = max(highest, confirm.delivery_tag)
    assert (await call(channel.queue_delete, name)).method.message_count == 200
    await close(connection)


async def check_rpc():
    server, client = await connect(), await connect()
    serving, asking = await open_channel(server), await open_channel(client)
    requests = (await call(serving.queue_declare, "", exclusive=True)).method.queue
    replies = (await call(asking.queue_declare, "", exclusive=True)).method.queue

    def on_request(channel, method, properties, body):
        answer = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body[::-1], answer)
        channel.basic_ack(method.delivery_tag)

    serving.basic_consume(requests, on_request)
    arrived = asyncio.Queue()
    asking.basic_consume(
        replies,
        lambda _ch, _method, props, body: arrived.put_nowait((props.correlation_id, body)),
        auto_ack=True,
    )
    properties = pika.BasicProperties(reply_to=replies, correlation_id="7")
    asking.basic_publish("", requests, "abc", properties)
    assert await arrived.get() == ("7", b"cba")
    await close(server)
    await close(client)


async def check_topology_errors():
    connection = await connect()
    name = unique("missing")
    for operation, code in (
        (lambda ch: ch.queue_declare(name, passive=True), 404),
        (lambda ch: ch.queue_bind(name, "amq.direct", "k"), 404),
        (lambda ch: ch.exchange_delete("amq.direct"), 403),
        (lambda ch: ch.exchange_declare("amq.direct", "topic", durable=True), 406),
    ):
        channel = await open_channel(connection)
        closed = asyncio.get_running_loop().create_future()
        channel.add_on_close_callback(lambda _channel, reason: closed.set_result(reason))
        operation(channel)
        reason = await closed
        assert reason.reply_code == code, reason
    await close(connection)


if __name__ == "__main__":
    run(sys.modules[__name__])
