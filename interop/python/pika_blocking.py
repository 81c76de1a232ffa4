"""pika's BlockingConnection: what applications do with it, and the errors they match on."""

import sys
import time

import pika
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from checks import URL, run, unique


def connect(**changes):
    parameters = pika.URLParameters(URL)
    for name, value in changes.items():
        setattr(parameters, name, value)
    return pika.BlockingConnection(parameters)


def expect_closed(code, text, operation):
    """The operation closes its channel with this code and text, and leaves the connection alive."""
    with connect() as connection:
        channel = connection.channel()
        try:
            operation(channel)
        except ChannelClosedByBroker as error:
            assert (error.reply_code, error.reply_text) == (code, text), error
        else:
            raise AssertionError(f"no error; expected {code} {text}")
        assert connection.channel().queue_declare("", exclusive=True).method.queue


def check_properties_round_trip():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        sent = pika.BasicProperties(
            content_type="text/plain",
            content_encoding="utf-8",
            headers={
                "text": "ü",
                "int": 1,
                "long": 2**40,
                "negative": -5,
                "bool": True,
                "none": None,
                "bytes": b"\x00\xff",
                "list": [1, "two", {"three": 3}],
                "table": {"nested": {"deep": "yes"}},
            },
            delivery_mode=2,
            priority=5,
            correlation_id="correlation",
            reply_to="reply",
            expiration="60000",
            message_id="message",
            timestamp=1700000000,
            type="type",
            user_id="guest",
            app_id="app",
            cluster_id="cluster",
        )
        channel.basic_publish("", queue, b"body", sent)
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        assert body == b"body"
        assert (method.redelivered, method.message_count) == (False, 0)
        assert vars(properties) == vars(sent), properties


def check_bodies_of_all_sizes():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for size in (0, 1, 131064, 131065, 5_000_000):
            body = bytes(range(251)) * (size // 251) + bytes(size % 251)
            channel.basic_publish("", queue, body)
            assert channel.basic_get(queue, auto_ack=True)[2] == body, size


def check_queue_counts():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        name = unique("counts")
        assert channel.queue_declare(name, durable=True).method.message_count == 0
        for body in ("a", "b", "c"):
            channel.basic_publish("", name, body)
        found = channel.queue_declare(name, passive=True).method
        assert (found.queue, found.message_count, found.consumer_count) == (name, 3, 0)
        assert channel.queue_purge(name).method.message_count == 3
        channel.basic_publish("", name, "d")
        assert channel.queue_delete(name).method.message_count == 1


def check_confirms():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        name = unique("confirms")
        channel.queue_declare(name, durable=True)
        for number in range(100):
            channel.basic_publish(
                "", name, str(number), pika.BasicProperties(delivery_mode=2), mandatory=True
            )
        assert channel.queue_delete(name).method.message_count == 100


def check_unroutable_messages_raise():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            channel.basic_publish(
                "amq.direct", unique("nowhere"), b"lost", pika.BasicProperties(app_id="me"),
                mandatory=True,
            )
        except UnroutableError as error:
            (returned,) = error.messages
            assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
            assert (returned.properties.app_id, returned.body) == ("me", b"lost")
        else:
            raise AssertionError("an unroutable message was taken")
        # Not mandatory: taken and dropped.
        channel.basic_publish("amq.direct", unique("nowhere"), b"dropped")


def check_returns_without_confirms():
    with connect() as connection:
        channel = connection.channel()
        returned = []
        channel.add_on_return_callback(lambda _ch, method, _props, body: returned.append(body))
        channel.basic_publish("", unique("nowhere"), b"back", mandatory=True)
        # An answer on the channel follows the return.
        channel.queue_declare("", exclusive=True)
        connection.process_data_events()
        assert returned == [b"back"], returned


def check_consume_and_acknowledge():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for number in range(10):
            channel.basic_publish("", queue, str(number))
        seen = []

        def on_message(channel, method, _properties, body):
            seen.append((int(body), method.redelivered))
            if len(seen) == 3:
                channel.basic_nack(method.delivery_tag, requeue=True)
            elif len(seen) == 6:
                channel.basic_reject(method.delivery_tag, requeue=False)
            else:
                channel.basic_ack(method.delivery_tag)
            if len(seen) == 11:
                channel.stop_consuming()

        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, on_message)
        channel.start_consuming()
        expected = [(n, False) for n in range(10)]
        expected.insert(3, (2, True))
        assert seen == expected, seen
        assert channel.queue_declare(queue, passive=True).method.message_count == 0


def check_prefetch_limits_what_is_delivered():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for number in range(10):
            channel.basic_publish("", queue, str(number))
        other = connection.channel()
        other.basic_qos(prefetch_count=3)
        tags = []
        other.basic_consume(queue, lambda _ch, method, _props, _body: tags.append(method.delivery_tag))
        while len(tags) < 3:
            connection.process_data_events(time_limit=1)
        assert channel.queue_declare(queue, passive=True).method.message_count == 7
        other.basic_ack(tags[-1], multiple=True)
        while len(tags) < 6:
            connection.process_data_events(time_limit=1)
        assert channel.queue_declare(queue, passive=True).method.message_count == 4


def check_the_generator_puts_back_what_it_held():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for number in range(5):
            channel.basic_publish("", queue, str(number))
        taken = []
        for method, _properties, body in channel.consume(queue):
            taken.append(body)
            channel.basic_ack(method.delivery_tag)
            if len(taken) == 2:
                break
        channel.cancel()
        rest = []
        for _ in range(3):
            method, _properties, body = channel.basic_get(queue, auto_ack=True)
            rest.append(body)
        assert taken + rest == [b"0", b"1", b"2", b"3", b"4"], (taken, rest)


def check_recover():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, "x")
        assert channel.basic_get(queue)[0].redelivered is False
        channel.basic_recover(requeue=True)
        assert channel.basic_get(queue)[0].redelivered is True


def check_exchanges_and_bindings():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for kind, key, headers in (
            ("direct", "k", None),
            ("fanout", "other", None),
            ("topic", "k.l", None),
            ("headers", "", {"a": "1"}),
        ):
            exchange = unique(kind)
            channel.exchange_declare(exchange, kind, durable=True)
            channel.exchange_declare(exchange, passive=True)
            pattern = {"topic": "k.*"}.get(kind, "k")
            arguments = {"x-match": "all", "a": "1"} if headers else None
            channel.queue_bind(queue, exchange, pattern, arguments)
            properties = pika.BasicProperties(headers=headers)
            channel.basic_publish(exchange, key, kind, properties)
            method, _properties, body = channel.basic_get(queue, auto_ack=True)
            assert (method.exchange, method.routing_key, body) == (exchange, key, kind.encode())
            channel.queue_unbind(queue, exchange, pattern, arguments)
            channel.basic_publish(exchange, key, kind, properties)
            assert channel.basic_get(queue) == (None, None, None)
            channel.exchange_delete(exchange, if_unused=True)


def check_exchange_to_exchange():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        source, target = unique("source"), unique("target")
        channel.exchange_declare(source, "topic", auto_delete=True)
        channel.exchange_declare(target, "fanout", auto_delete=True)
        channel.exchange_bind(target, source, "a.#")
        channel.queue_bind(queue, target, "")
        channel.basic_publish(source, "a.b", "through")
        assert channel.basic_get(queue, auto_ack=True)[2] == b"through"
        channel.exchange_unbind(target, source, "a.#")
        channel.queue_unbind(queue, target, "")


def check_rpc():
    with connect() as server_connection, connect() as client_connection:
        server = server_connection.channel()
        requests = server.queue_declare("", exclusive=True).method.queue

        def on_request(channel, method, properties, body):
            answer = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish("", properties.reply_to, body.upper(), answer)
            channel.basic_ack(method.delivery_tag)

        server.basic_consume(requests, on_request)
        client = client_connection.channel()
        replies = client.queue_declare("", exclusive=True).method.queue
        answers = {}
        client.basic_consume(
            replies,
            lambda _ch, _method, props, body: answers.update({props.correlation_id: body}),
            auto_ack=True,
        )
        for number in range(10):
            properties = pika.BasicProperties(reply_to=replies, correlation_id=str(number))
            client.basic_publish("", requests, f"request {number}", properties)
        while len(answers) < 10:
            server_connection.process_data_events(time_limit=0.01)
            client_connection.process_data_events(time_limit=0.01)
        assert answers == {str(n): b"REQUEST %d" % n for n in range(10)}, answers


def check_transactions():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.tx_select()
        channel.basic_publish("", queue, "kept")
        assert channel.basic_get(queue) == (None, None, None)
        channel.tx_commit()
        channel.basic_publish("", queue, "dropped")
        channel.tx_rollback()
        assert channel.basic_get(queue)[2] == b"kept"
        assert channel.basic_get(queue) == (None, None, None)


def check_a_deleted_queue_cancels_its_consumer():
    with connect() as connection:
        channel = connection.channel()
        name = unique("deleted")
        channel.queue_declare(name)
        cancelled = []
        channel.add_on_cancel_callback(cancelled.append)
        channel.basic_consume(name, lambda *_: None, consumer_tag="me")
        connection.channel().queue_delete(name)
        while not cancelled:
            connection.process_data_events(time_limit=1)
        assert cancelled[0].method.consumer_tag == "me"


def check_channel_errors():
    name = unique("missing")
    missing = f"NOT_FOUND - no queue '{name}' in vhost '/'"
    expect_closed(404, missing, lambda ch: ch.queue_declare(name, passive=True))
    expect_closed(404, missing, lambda ch: ch.basic_get(name))
    expect_closed(404, missing, lambda ch: ch.basic_consume(name, lambda *_: None))
    expect_closed(
        404,
        f"NOT_FOUND - no exchange '{name}' in vhost '/'",
        lambda ch: ch.exchange_declare(name, passive=True),
    )
    expect_closed(
        403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda ch: ch.queue_declare("amq.mine"),
    )

    def redeclare(channel):
        channel.queue_declare(name, exclusive=True)
        channel.queue_declare(name, exclusive=True, auto_delete=True)

    expect_closed(
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '{name}' in vhost '/': "
        "received 'true' but current is 'false'",
        redeclare,
    )


def check_errors_of_publishes_and_acknowledgements():
    with connect() as connection:
        for operation, code, text in (
            (
                lambda ch: ch.basic_publish("interop.missing", "", "x"),
                404,
                "NOT_FOUND - no exchange 'interop.missing' in vhost '/'",
            ),
            (lambda ch: ch.basic_ack(7), 406, "PRECONDITION_FAILED - unknown delivery tag 7"),
        ):
            channel = connection.channel()
            operation(channel)
            try:
                # The error comes with the next thing that waits for an answer.
                channel.queue_declare("", exclusive=True)
            except ChannelClosedByBroker as error:
                assert (error.reply_code, error.reply_text) == (code, text), error
            else:
                raise AssertionError("no error")


def check_exclusive_queues_are_locked():
    with connect() as owner, connect() as other:
        name = unique("exclusive")
        owner.channel().queue_declare(name, exclusive=True)
        try:
            other.channel().queue_declare(name, passive=True)
        except ChannelClosedByBroker as error:
            assert error.reply_code == 405, error
        else:
            raise AssertionError("an exclusive queue was open to another connection")
        owner.close()
        # Gone by the time the owner's close is answered.
        other.channel().queue_declare(name, exclusive=True)


def check_connection_errors():
    try:
        connect().channel().basic_qos(prefetch_size=10)
    except ConnectionClosedByBroker as error:
        assert error.reply_code == 540, error
        assert error.reply_text == "NOT_IMPLEMENTED - prefetch_size!=0 (10)", error
    else:
        raise AssertionError("no error")


def check_bad_logins():
    try:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    except ProbableAuthenticationError as error:
        assert "(403) 'ACCESS_REFUSED - Login was refused" in str(error), error
    else:
        raise AssertionError("a wrong password was taken")
    try:
        connect(virtual_host="/missing")
    except ProbableAccessDeniedError as error:
        assert "(530) 'NOT_ALLOWED - vhost /missing not found'" in str(error), error
    else:
        raise AssertionError("a missing vhost was opened")


def check_many_channels():
    with connect() as connection:
        channels = [connection.channel() for _ in range(200)]
        queues = [channel.queue_declare("", exclusive=True).method.queue for channel in channels]
        for channel, queue in zip(channels, queues):
            channel.basic_publish("", queue, queue)
        for channel, queue in zip(channels, queues):
            assert channel.basic_get(queue, auto_ack=True)[2] == queue.encode()
        for channel in channels[::2]:
            channel.close()
        assert connection.channel().is_open


def check_heartbeats_keep_an_idle_connection():
    with connect(heartbeat=1) as connection:
        channel = connection.channel()
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            connection.process_data_events(time_limit=0.5)
        assert channel.queue_declare("", exclusive=True).method.queue


if __name__ == "__main__":
    run(sys.modules[__name__])
