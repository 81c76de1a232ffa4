"""Publisher confirms three ways: wait for each message, for each batch, or for none.

A confirm means that the broker has the message on disk. The sooner the next message may
follow, the faster: waiting for each costs a round trip and a disk write per message.

    python publisher_confirms.py [--count N] [individual|batch|async]
"""

import argparse
import os
import time

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
PERSISTENT = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)


def individual(count):
    """Publish and wait for the confirm, message by message."""
    with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", durable=True).method.queue
        channel.confirm_delivery()
        for n in range(count):
            # Raises pika.exceptions.NackError if the broker refuses the message.
            channel.basic_publish("", queue, str(n), PERSISTENT)
        channel.queue_delete(queue)


def batch(count):
    """Publish a hundred, wait until all of them are confirmed, publish the next hundred."""
    Publisher(count, window=100, refill_at=0).run()


def asynchronous(count):
    """Keep publishing while confirms arrive, with at most a thousand on the way."""
    Publisher(count, window=1000, refill_at=999).run()


class Publisher:
    """Publishes `count` messages and ends when the broker has confirmed every one.

    At most `window` are unconfirmed at a time; more follow when `refill_at` or fewer are.
    """

    def __init__(self, count, window, refill_at):
        self.count = count
        self.window = window
        self.refill_at = refill_at
        self.published = 0
        self.unconfirmed = set()
        self.connection = pika.SelectConnection(
            pika.URLParameters(URL),
            on_open_callback=lambda connection: connection.channel(
                on_open_callback=self.on_channel_open
            ),
            on_open_error_callback=self.on_open_error,
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def run(self):
        self.connection.ioloop.start()
        if self.published < self.count or self.unconfirmed:
            raise SystemExit(f"{len(self.unconfirmed)} messages were not confirmed")

    def on_open_error(self, _connection, error):
        raise SystemExit(f"cannot connect: {error!r}")

    def on_channel_open(self, channel):
        self.channel = channel
        channel.queue_declare("", durable=True, callback=self.on_queue)

    def on_queue(self, frame):
        self.queue = frame.method.queue
        self.channel.confirm_delivery(self.on_confirm, callback=lambda _: self.fill())

    def fill(self):
        while self.published < self.count and len(self.unconfirmed) < self.window:
            self.channel.basic_publish("", self.queue, str(self.published), PERSISTENT)
            # The broker numbers the messages of a channel from one, so do we.
            self.published += 1
            self.unconfirmed.add(self.published)

    def on_confirm(self, frame):
        confirm = frame.method
        tag = confirm.delivery_tag
        # `multiple` answers for everything up to and including the tag.
        settled = {n for n in self.unconfirmed if n <= tag} if confirm.multiple else {tag}
        if isinstance(confirm, pika.spec.Basic.Nack):
            raise SystemExit(f"the broker refused messages {sorted(settled)}")
        self.unconfirmed -= settled
        if len(self.unconfirmed) <= self.refill_at:
            self.fill()
        if not self.unconfirmed:
            self.channel.queue_delete(self.queue, callback=lambda _: self.connection.close())


MODES = {"individual": individual, "batch": batch, "async": asynchronous}

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, default=5000, help="messages per mode")
parser.add_argument("mode", nargs="?", choices=MODES, help="all of them by default")
args = parser.parse_args()

for mode in [args.mode] if args.mode else MODES:
    start = time.perf_counter()
    MODES[mode](args.count)
    seconds = time.perf_counter() - start
    print(f"{mode}: {args.count} messages confirmed in {seconds:.2f} s", flush=True)
