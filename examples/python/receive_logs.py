"""Publish/subscribe, the subscribing half: each subscriber gets every line.

    python receive_logs.py [--count N]
"""

import argparse
import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, help="stop after this many lines")
remaining = parser.parse_args().count


def on_line(channel, _method, _properties, body):
    global remaining
    print(f"received {body.decode()!r}", flush=True)
    if remaining is not None:
        remaining -= 1
        if remaining == 0:
            channel.stop_consuming()


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.exchange_declare("logs", exchange_type="fanout")
    # The broker names the queue; it lives as long as this connection.
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "logs")
    channel.basic_consume(queue, on_line, auto_ack=True)
    print("waiting for logs, CTRL+C ends", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        pass
