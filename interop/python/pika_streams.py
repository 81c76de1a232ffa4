"""Streams over pika's BlockingConnection: what programs that read them send, and what they get."""

import contextlib
import datetime
import sys
import time

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from checks import URL, restart_broker, run, unique


def connect():
    return pika.BlockingConnection(pika.URLParameters(URL))


@contextlib.contextmanager
def stream(**arguments):
    """A stream, which is deleted at the end; its name."""
    name = unique("stream")
    arguments = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    with connect() as connection:
        declare(connection.channel(), name, **arguments)
    try:
        yield name
    finally:
        with connect() as connection:
            connection.channel().queue_delete(name)


def declare(channel, name, **arguments):
    arguments = {"x-queue-type": "stream", **arguments}
    return channel.queue_declare(name, durable=True, arguments=arguments)


def fill(name, bodies, filter_value=None):
    """Publishes bodies, each in a chunk of its own as its confirm is waited for."""
    headers = {} if filter_value is None else {"x-stream-filter-value": filter_value}
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("", name, str(body), pika.BasicProperties(headers=headers))


class Reader:
    """A connection that reads a stream, and what it got."""

    def __init__(self, name, prefetch=100, tag=None, **arguments):
        arguments = {f"x-stream-{key.replace('_', '-')}": value for key, value in arguments.items()}
        self.connection = connect()
        self.channel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=prefetch)
        self.name = name
        self.deliveries = []
        self.tag = self.channel.basic_consume(
            name, self.take, consumer_tag=tag, arguments=arguments
        )

    def take(self, _channel, method, properties, body):
        self.deliveries.append((method, properties, body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.connection.is_open:
            self.connection.close()

    def read(self, count):
        """Waits for as many deliveries, which have to be all there are, and takes them."""
        deadline = time.monotonic() + 20
        while len(self.deliveries) < count and time.monotonic() < deadline:
            self.connection.process_data_events(time_limit=0.1)
        # What else had been on its way comes before the answer.
        self.channel.queue_declare(self.name, passive=True)
        self.connection.process_data_events()
        taken, self.deliveries = self.deliveries, []
        assert len(taken) == count, f"{len(taken)} deliveries for {count}: {taken}"
        return taken

    def offsets(self, count):
        return [properties.headers["x-stream-offset"] for _, properties, _ in self.read(count)]

    def ack(self, tag, multiple=True):
        """Acknowledges; the broker has done so when this returns."""
        self.channel.basic_ack(tag, multiple=multiple)
        self.channel.queue_declare(self.name, passive=True)


def expect_refused(code, text, operation):
    """The operation fails with this code and text."""
    with connect() as connection:
        channel = connection.channel()
        try:
            operation(channel)
            connection.process_data_events()
        except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
            assert (error.reply_code, error.reply_text) == (code, text), error
        else:
            raise AssertionError(f"no error; expected {code} {text}")


def check_many_read_what_nobody_takes_away():
    with stream() as name:
        fill(name, range(5))
        for _ in range(2):
            with Reader(name, offset="first") as reader:
                for number, (method, properties, body) in enumerate(reader.read(5)):
                    assert body == str(number).encode()
                    assert properties.headers == {"x-stream-offset": number}, properties
                    assert (method.exchange, method.routing_key) == ("", name), method
                    assert not method.redelivered
                reader.ack(5)
        with connect() as connection:
            found = connection.channel().queue_declare(name, passive=True).method
            assert (found.message_count, found.consumer_count) == (5, 0), found


def check_readers_begin_where_they_ask_to():
    with stream() as name:
        fill(name, range(10))
        now = datetime.datetime.now(datetime.timezone.utc)
        hour = datetime.timedelta(hours=1)
        for offset, first in [
            ("first", 0),
            ("last", 9),
            ("next", 10),
            (0, 0),
            (7, 7),
            (2**33, 10),
            (now - hour, 0),
            (now + hour, 10),
            ("1h", 0),
            ("1D", 0),
        ]:
            with Reader(name, offset=offset) as reader:
                assert reader.offsets(10 - first) == list(range(first, 10)), offset
        with Reader(name) as reader, Reader(name, offset=12) as later:
            reader.read(0)
            fill(name, range(10, 14))
            assert reader.offsets(4) == [10, 11, 12, 13]
            assert later.offsets(2) == [12, 13]


def check_an_acknowledgement_gives_credit():
    with stream() as name:
        fill(name, range(7))
        with Reader(name, prefetch=2, offset="first") as reader:
            assert reader.offsets(2) == [0, 1]
            reader.ack(1, multiple=False)
            assert reader.offsets(1) == [2]
            reader.ack(3)
            assert reader.offsets(2) == [3, 4]
            # Whatever is said of a message, it is credit, and nothing comes back.
            reader.channel.basic_nack(4, requeue=True)
            assert reader.offsets(1) == [5]
            reader.channel.basic_reject(5, requeue=False)
            assert reader.offsets(1) == [6]


def check_filters_choose_messages():
    with stream() as name:
        fill(name, ["a"], "a")
        fill(name, ["b"], "b")
        fill(name, ["none"])
        fill(name, ["a again"], "a")
        for arguments, bodies in [
            ({"filter": "a"}, [b"a", b"a again"]),
            ({"filter": ["a", "b"]}, [b"a", b"b", b"a again"]),
            ({"filter": "b", "match_unfiltered": True}, [b"b", b"none"]),
            ({"filter": "c"}, []),
            ({}, [b"a", b"b", b"none", b"a again"]),
        ]:
            with Reader(name, offset="first", **arguments) as reader:
                read = [body for _, _, body in reader.read(len(bodies))]
                assert read == bodies, arguments


def check_headers_of_the_publisher_stay():
    with stream() as name:
        with connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            sent = pika.BasicProperties(
                content_type="text/plain",
                headers={"mine": "yes", "x-stream-offset": "forged"},
                message_id="m",
                priority=3,
            )
            channel.basic_publish("", name, b"body", sent)
        with Reader(name, offset="first") as reader:
            ((_, properties, body),) = reader.read(1)
            assert body == b"body"
            assert properties.headers == {"mine": "yes", "x-stream-offset": 0}, properties
            assert (properties.message_id, properties.priority) == ("m", 3)


def check_a_named_reader_goes_on_where_it_was():
    with stream() as name:
        fill(name, range(6))
        tracked = {"offset": "first", "automatic_offset_tracking": True, "tag": "worker"}
        with Reader(name, **tracked) as reader:
            assert reader.offsets(6) == [0, 1, 2, 3, 4, 5]
            reader.ack(4)
        with Reader(name, **tracked) as reader:
            assert reader.offsets(2) == [4, 5]
        with Reader(name, **{**tracked, "tag": "other"}) as reader:
            assert reader.offsets(6) == [0, 1, 2, 3, 4, 5]
        with Reader(name, offset="first", tag="worker") as reader:
            assert reader.offsets(6) == [0, 1, 2, 3, 4, 5]


def check_messages_and_positions_outlive_a_restart():
    with stream() as name:
        fill(name, range(4))
        tracked = {"offset": "first", "automatic_offset_tracking": True, "tag": "worker"}
        with Reader(name, **tracked) as reader:
            assert reader.offsets(4) == [0, 1, 2, 3]
            reader.ack(3)
        restart_broker()
        fill(name, ["next"])
        with Reader(name, **tracked) as reader:
            assert reader.offsets(2) == [3, 4]


def check_retention_takes_whole_segments():
    with stream(max_length_bytes=4000, stream_max_segment_size_bytes=1000) as name:
        fill(name, [str(number) * 300 for number in range(10)] * 5)
        with connect() as connection:
            count = connection.channel().queue_declare(name, passive=True).method.message_count
        assert 4 <= count < 50, count
        with Reader(name, offset="first") as reader:
            assert reader.offsets(count) == list(range(50 - count, 50))
        with Reader(name, offset=0) as reader:
            assert reader.offsets(count)[0] == 50 - count


def check_refusals():
    with stream() as name:
        queue = f"queue '{name}' in vhost '/'"

        def consume(**options):
            def operation(channel):
                channel.basic_qos(prefetch_count=1)
                channel.basic_consume(name, print, **options)

            return operation

        bogus = {"x-stream-offset": "bogus"}
        for code, text, operation in [
            (
                406,
                f"PRECONDITION_FAILED - consumer prefetch count is not set for stream {queue}",
                lambda channel: channel.basic_consume(name, print),
            ),
            (
                540,
                f"NOT_IMPLEMENTED - automatic acknowledgement not supported by stream {queue}",
                consume(auto_ack=True),
            ),
            (
                406,
                f"PRECONDITION_FAILED - invalid arg 'x-stream-offset' for {queue}: "
                '{invalid_stream_offset_arg,{longstr,<<"bogus">>}}',
                consume(arguments=bogus),
            ),
            (
                406,
                f"PRECONDITION_FAILED - invalid arg 'x-priority' for {queue} "
                "of queue type rabbit_stream_queue",
                consume(arguments={"x-priority": 1}),
            ),
            (
                540,
                f"NOT_IMPLEMENTED - basic.get not supported by stream queues {queue}",
                lambda channel: channel.basic_get(name),
            ),
            (
                540,
                f"NOT_IMPLEMENTED - queue.purge not supported by stream queues {queue}",
                lambda channel: channel.queue_purge(name),
            ),
            (
                406,
                f"PRECONDITION_FAILED - inequivalent arg 'x-max-age' for {queue}: received the "
                "value '86400000' of type 'longstr' but current is none",
                lambda channel: declare(channel, name, **{"x-max-age": "1D"}),
            ),
        ]:
            expect_refused(code, text, operation)


def check_refused_declarations():
    name = unique("refused")
    queue = f"queue '{name}' in vhost '/'"
    for argument, value, reason in [
        ("x-message-ttl", 1000, " of queue type rabbit_stream_queue"),
        ("x-max-length", 10, " of queue type rabbit_stream_queue"),
        ("x-dead-letter-exchange", "x", " of queue type rabbit_stream_queue"),
        ("x-single-active-consumer", True, " of queue type rabbit_stream_queue"),
        ("x-max-age", "10", ": invalid_max_age"),
        ("x-max-age", 10, ": {unacceptable_type,signedint}"),
        ("x-initial-cluster-size", 0, ": {value_zero,0}"),
    ]:
        text = f"PRECONDITION_FAILED - invalid arg '{argument}' for {queue}{reason}"
        expect_refused(406, text, lambda channel: declare(channel, name, **{argument: value}))
    for options, what in [
        ({}, "non-durable"),
        ({"durable": True, "exclusive": True}, "exclusive-owner"),
        ({"durable": True, "auto_delete": True}, "auto-delete"),
    ]:
        text = f"PRECONDITION_FAILED - invalid property '{what}' for {queue}"
        kind = {"x-queue-type": "stream"}
        expect_refused(
            406, text, lambda channel: channel.queue_declare(name, arguments=kind, **options)
        )


if __name__ == "__main__":
    run(sys.modules[__name__])
