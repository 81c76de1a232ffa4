"""The firehose over pika's BlockingConnection, as programs that trace a broker use it."""

import sys

import pika

from checks import URL, control_broker, run, unique


def connect():
    return pika.BlockingConnection(pika.URLParameters(URL))


def next_of(channel, queue):
    """The next message of a queue; it is waited for."""
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=20):
        channel.cancel()
        assert method, "nothing came"
        return method, properties, body


def check_publishes_and_deliveries_are_told():
    with connect() as connection:
        channel, tracer = connection.channel(), connection.channel()
        queue, exchange = unique("traced"), unique("traced")
        channel.queue_declare(queue, exclusive=True)
        channel.exchange_declare(exchange, "topic", auto_delete=True)
        channel.queue_bind(queue, exchange, "a.#")
        told = tracer.queue_declare("", exclusive=True).method.queue
        for key in (f"publish.{exchange}", f"deliver.{queue}"):
            tracer.queue_bind(told, "amq.rabbitmq.trace", key)
        control_broker("trace_on")
        try:
            sent = pika.BasicProperties(
                headers={"n": 1, "CC": ["a.copy"]}, delivery_mode=2, timestamp=1700000000
            )
            channel.basic_publish(exchange, "a.b", b"body", sent)
            method, properties, body = next_of(tracer, told)
            assert (method.exchange, method.routing_key) == (
                "amq.rabbitmq.trace",
                f"publish.{exchange}",
            )
            assert body == b"body"
            headers = properties.headers
            where = {name: headers.pop(name) for name in ("node", "connection")}
            assert "@" in where["node"] and " -> " in where["connection"], where
            assert headers == {
                "exchange_name": exchange,
                "routing_keys": ["a.b", "a.copy"],
                "properties": {
                    "headers": {"n": 1, "CC": ["a.copy"]},
                    "delivery_mode": 2,
                    "timestamp": 1700000000,
                },
                "vhost": "/",
                "channel": channel.channel_number,
                "user": "guest",
                "routed_queues": [queue],
            }, headers
            for redelivered in (0, 1):
                method, *_ = next_unsettled(channel, queue)
                channel.basic_nack(method.delivery_tag)
                method, properties, body = next_of(tracer, told)
                assert method.routing_key == f"deliver.{queue}" and body == b"body"
                assert properties.headers["redelivered"] == redelivered
                assert properties.headers["exchange_name"] == exchange
        finally:
            control_broker("trace_off")
        channel.confirm_delivery()
        channel.basic_publish(exchange, "a.b", b"untold")
        assert tracer.queue_declare(told, passive=True).method.message_count == 0


def next_unsettled(channel, queue):
    while True:
        method, properties, body = channel.basic_get(queue)
        if method:
            return method, properties, body


if __name__ == "__main__":
    run(sys.modules[__name__])
