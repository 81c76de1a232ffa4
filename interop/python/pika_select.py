"""pika's SelectConnection: callbacks all the way, on its own event loop."""

import sys

import pika

from checks import URL, run, unique


class Session:
    """A connection with a channel; runs until `done` is called, and no longer than a while."""

    def __init__(self, on_channel, confirm=False):
        self.on_channel = on_channel
        self.failure = "nothing happened"
        self.closed = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(URL),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_open),
            on_open_error_callback=self.on_failure,
            on_close_callback=self.on_close,
        )
        self.connection.ioloop.call_later(30, lambda: self.on_failure(None, "it takes too long"))
        self.connection.ioloop.start()
        assert self.failure is None, self.failure

    def on_open(self, channel):
        self.channel = channel
        channel.add_on_close_callback(self.on_channel_closed)
        try:
            self.on_channel(self, channel)
        except Exception as error:
            self.on_failure(None, error)
            raise

    def on_channel_closed(self, _channel, reason):
        self.closed = reason

    def on_failure(self, _connection, error):
        self.failure = error
        self.connection.ioloop.stop()

    def on_close(self, _connection, _reason):
        self.connection.ioloop.stop()

    def done(self):
        self.failure = None
        self.connection.close()


def check_confirms_in_bulk():
    count = 1000
    name = unique("select")

    def on_channel(session, channel):
        open_tags = set(range(1, count + 1))

        def on_confirm(frame):
            confirm = frame.method
            assert isinstance(confirm, pika.spec.Basic.Ack), confirm
            tag = confirm.delivery_tag
            settled = {n for n in open_tags if n <= tag} if confirm.multiple else {tag}
            assert settled and settled <= open_tags, confirm
            open_tags.difference_update(settled)
            if not open_tags:
                channel.queue_delete(name, callback=on_deleted)

        def on_deleted(frame):
            assert frame.method.message_count == count, frame
            session.done()

        def publish(_frame):
            persistent = pika.BasicProperties(delivery_mode=2)
            for number in range(count):
                channel.basic_publish("", name, str(number), persistent)

        channel.queue_declare(
            name,
            durable=True,
            callback=lambda _: channel.confirm_delivery(on_confirm, callback=publish),
        )

    Session(on_channel)


def check_consume_with_prefetch():
    count = 200

    def on_channel(session, channel):
        seen = []

        def on_message(channel, method, _properties, body):
            seen.append(int(body))
            channel.basic_ack(method.delivery_tag)
            if len(seen) == count:
                assert seen == list(range(count)), seen
                channel.basic_cancel(method.consumer_tag, callback=lambda _: session.done())

        def on_queue(frame):
            queue = frame.method.queue
            for number in range(count):
                channel.basic_publish("", queue, str(number))
            channel.basic_qos(
                prefetch_count=10, callback=lambda _: channel.basic_consume(queue, on_message)
            )

        channel.queue_declare("", exclusive=True, callback=on_queue)

    Session(on_channel)


def check_returns_come_before_their_confirm():
    def on_channel(session, channel):
        events = []
        channel.add_on_return_callback(lambda *_: events.append("return"))

        def on_confirm(frame):
            events.append(type(frame.method).__name__)
            assert events == ["return", "Ack"], events
            session.done()

        channel.confirm_delivery(
            on_confirm,
            callback=lambda _: channel.basic_publish("", unique("no"), "x", mandatory=True),
        )

    Session(on_channel)


def check_a_failed_channel_leaves_the_connection():
    name = unique("missing")

    def on_channel(session, channel):
        def on_closed(_channel, reason):
            assert isinstance(reason, pika.exceptions.ChannelClosedByBroker), reason
            assert reason.reply_code == 404, reason
            session.connection.channel(on_open_callback=lambda _: session.done())

        channel.add_on_close_callback(on_closed)
        channel.queue_declare(name, passive=True)

    Session(on_channel)


def check_flow_and_multiple_channels():
    def on_channel(session, channel):
        opened = []

        def on_open(another):
            opened.append(another.channel_number)
            if len(opened) == 20:
                assert len(set(opened)) == 20, opened
                channel.flow(True, callback=lambda active: session.done())

        for _ in range(20):
            session.connection.channel(on_open_callback=on_open)

    Session(on_channel)


if __name__ == "__main__":
    run(sys.modules[__name__])
