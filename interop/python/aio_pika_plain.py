"""aio-pika on a plain connection: confirms by default, iterators, contexts that settle."""

import asyncio
import sys

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import (
    ChannelClosed,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
    QueueEmpty,
)

from checks import URL, run, unique


async def check_publish_and_get():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        sent = Message(
            b"body",
            headers={"text": "ü", "number": 1, "list": [1, "two"], "table": {"deep": True}},
            content_type="text/plain",
            delivery_mode=DeliveryMode.PERSISTENT,
            priority=3,
            correlation_id="correlation",
            reply_to="reply",
            expiration=60,
            message_id="message",
            type="type",
            app_id="app",
        )
        await channel.default_exchange.publish(sent, queue.name)
        async with (await queue.get()).process() as received:
            assert received.body == b"body"
            assert received.headers == sent.headers, received.headers
            for name in ("content_type", "priority", "correlation_id", "reply_to", "expiration",
                         "message_id", "type", "app_id", "delivery_mode"):
                assert getattr(received, name) == getattr(sent, name), name
        try:
            await queue.get()
        except QueueEmpty:
            pass
        else:
            raise AssertionError("the message came twice")


async def check_confirms_of_concurrent_publishes():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique("aio"), durable=True)
        messages = [
            Message(str(n).encode(), delivery_mode=DeliveryMode.PERSISTENT) for n in range(500)
        ]
        await asyncio.gather(
            *(channel.default_exchange.publish(message, queue.name) for message in messages)
        )
        found = await channel.declare_queue(queue.name, passive=True)
        assert found.declaration_result.message_count == 500
        await queue.delete(if_empty=False)


async def check_unroutable_messages_raise():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel(on_return_raises=True)
        try:
            await channel.default_exchange.publish(Message(b"lost"), unique("nowhere"))
        except DeliveryError as error:
            assert error.message.body == b"lost", error
        else:
            raise AssertionError("an unroutable message was taken")


async def check_iterator_with_prefetch():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=5)
        queue = await channel.declare_queue(exclusive=True)
        for number in range(50):
            await channel.default_exchange.publish(Message(str(number).encode()), queue.name)
        seen = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    seen.append(int(message.body))
                if len(seen) == 50:
                    break
        assert seen == list(range(50)), seen


async def check_failed_processing_requeues():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(Message(b"x"), queue.name)
        try:
            async with (await queue.get()).process(requeue=True):
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        again = await queue.get()
        assert again.redelivered is True
        await again.nack(requeue=True)
        again = await queue.get()
        await again.reject(requeue=False)
        assert await queue.get(fail=False) is None


async def check_exchanges():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        for kind, key, pattern, headers in (
            (ExchangeType.DIRECT, "k", "k", {}),
            (ExchangeType.FANOUT, "other", "", {}),
            (ExchangeType.TOPIC, "a.b", "*.b", {}),
            (ExchangeType.HEADERS, "", "", {"a": "1"}),
        ):
            exchange = await channel.declare_exchange(unique(kind.value), kind, auto_delete=True)
            queue = await channel.declare_queue(exclusive=True)
            arguments = {"x-match": "all", **headers} if headers else None
            await queue.bind(exchange, pattern, arguments=arguments)
            await exchange.publish(Message(b"x", headers=headers), key)
            async with (await queue.get()).process() as message:
                assert (message.exchange, message.routing_key) == (exchange.name, key)
            await queue.unbind(exchange, pattern, arguments=arguments)


async def check_transactions():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"kept"), queue.name)
            assert await queue.get(fail=False) is None
        transaction = channel.transaction()
        await transaction.select()
        await channel.default_exchange.publish(Message(b"dropped"), queue.name)
        await transaction.rollback()
        message = await queue.get()
        assert message.body == b"kept", message
        assert await queue.get(fail=False) is None


async def check_topology_errors():
    async with await aio_pika.connect(URL) as connection:
        name = unique("missing")
        for error_type, operation in (
            (ChannelNotFoundEntity, lambda ch: ch.declare_queue(name, passive=True)),
            (ChannelNotFoundEntity, lambda ch: ch.declare_exchange(name, passive=True)),
            (ChannelPreconditionFailed, lambda ch: ch.declare_exchange("amq.direct", "topic")),
            (ChannelClosed, lambda ch: ch.declare_queue("amq.mine")),
        ):
            channel = await connection.channel()
            try:
                await operation(channel)
            except error_type:
                pass
            else:
                raise AssertionError(f"no {error_type.__name__}")
        assert await (await connection.channel()).declare_queue(exclusive=True)


async def check_bad_password():
    try:
        await aio_pika.connect(URL.replace("guest:guest", "guest:wrong"))
    except ProbableAuthenticationError:
        pass
    else:
        raise AssertionError("a wrong password was taken")


if __name__ == "__main__":
    run(sys.modules[__name__])
