"""Topics, the subscribing half: get the lines whose key matches a pattern.

In a pattern `*` stands for one word and `#` for any number of words, also none.

    python receive_logs_topic.py [--count N] PATTERN...
"""

import argparse
import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, help="stop after this many lines")
parser.add_argument("pattern", nargs="+")
args = parser.parse_args()
remaining = args.count


def on_line(channel, method, _properties, body):
    global remaining
    print(f"received {method.routing_key}: {body.decode()!r}", flush=True)
    if remaining is not None:
        remaining -= 1
        if remaining == 0:
            channel.stop_consuming()


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.exchange_declare("topic_logs", exchange_type="topic")
    queue = channel.queue_declare("", exclusive=True).method.queue
    for pattern in args.pattern:
        channel.queue_bind(queue, "topic_logs", routing_key=pattern)
    channel.basic_consume(queue, on_line, auto_ack=True)
    print("waiting for logs, CTRL+C ends", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        pass
