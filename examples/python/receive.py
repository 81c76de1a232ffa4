"""Hello world, the receiving half: print what arrives in the queue `hello`.

    python receive.py [--count N]
"""

import argparse
import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, help="stop after this many messages")
remaining = parser.parse_args().count


def on_message(channel, method, _properties, body):
    global remaining
    print(f"received {body.decode()!r}", flush=True)
    channel.basic_ack(method.delivery_tag)
    if remaining is not None:
        remaining -= 1
        if remaining == 0:
            channel.stop_consuming()


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.queue_declare("hello", durable=True)
    channel.basic_consume("hello", on_message)
    print("waiting for messages, CTRL+C ends", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        pass
